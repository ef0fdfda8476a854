"""An answer is told in parts while it is being made: each piece once, in order, over all attempts."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chunks_rig import ChunksRig
from support.told_rig import FakeFlight, Told

from inferstream.pipeline.broker.base import Headers, Message, Record, TopicPartition
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.chunks import CHUNK_BYTES, PIECE_BYTES, AnswerPart
from inferstream.pipeline.delivery.replies import MAX_KEY_BYTES, ReplyBuilder
from inferstream.pipeline.lab.steps import Steps
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure, Result
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("steps")


def test_a_follower_is_told_the_pieces_so_far_and_then_those_that_come() -> None:
    told, flight = Told(), FakeFlight(pieces=["a", "b"])
    told.follow(flight)
    flight.bring("c")
    flight.bring()
    flight.bring("d", "e")
    assert [json.loads(part.output) for part in told.parts] == [["a", "b"], ["c"], ["d", "e"]]
    assert (told.pieces, told.chunks.position, told.chunks.seq) == (["a", "b", "c", "d", "e"], 5, 3)


def test_another_attempt_goes_on_where_the_last_one_was() -> None:
    told, first, second = Told(), FakeFlight(), FakeFlight()
    told.follow(first)
    first.bring("a", "b")
    told.follow(second)
    first.bring("lost")
    second.bring("a")
    second.bring("b", "c")
    assert told.pieces == ["a", "b", "c"]
    assert first.watchers == []


def test_at_the_end_nothing_is_told_and_nothing_is_held() -> None:
    told, flight = Told(), FakeFlight()
    told.follow(flight)
    told.chunks.end()
    flight.bring("a")
    told.slot.say()
    assert (told.parts, flight.watchers, told.slot.chunks) == ([], [], None)


@given(
    st.lists(st.lists(st.text(max_size=9).map(lambda text: text * 999), max_size=40), max_size=8),
)
def test_parts_are_of_bounded_size_and_have_every_piece_once(brought: list[list[str]]) -> None:
    told, flight = Told(), FakeFlight()
    told.follow(flight)
    for pieces in brought:
        flight.bring(*pieces)
    assert told.pieces == [piece for pieces in brought for piece in pieces]
    assert all(len(part.output) <= CHUNK_BYTES or len(json.loads(part.output)) == 1 for part in told.parts)


def test_a_hundred_thousand_small_pieces_are_told_in_few_parts() -> None:
    told, flight = Told(), FakeFlight(pieces=["x"] * 100_000)
    told.follow(flight)
    assert len(told.pieces) == 100_000
    assert len(told.parts) < 60


@pytest.mark.parametrize(
    ("most_bytes", "size"), [(20_000, 30_000), (1_000_000, PIECE_BYTES)], ids=["for a reply", "for a chunk"]
)
def test_after_a_piece_that_is_too_large_the_answer_comes_whole(most_bytes: int, size: int) -> None:
    told, flight = Told(most_bytes), FakeFlight()
    told.follow(flight)
    flight.bring("a", "b" * size, "c")
    flight.bring("d")
    assert told.pieces == ["a"]


class Overtaken(Steps):
    """While it makes a part, the device adds a piece, as a lane's thread may at any moment."""

    def __init__(self, coming: str) -> None:
        super().__init__()
        self.flight = FakeFlight(self)
        self._coming = list(coming)

    def tell(self, pieces: Any, start: int) -> bytes:
        if self._coming:
            self.flight.pieces.append(self._coming.pop(0))
        return super().tell(pieces, start)


def test_a_piece_that_comes_while_a_part_is_made_is_told_once() -> None:
    told, task = Told(), Overtaken("cdef")
    told.follow(task.flight)
    task.flight.bring("a", "b")
    assert "".join(told.pieces) == "abcdef"


class Defective(Steps):
    def tell(self, pieces: Any, start: int) -> bytes:
        raise ValueError("a defect")


def test_a_task_that_cannot_tell_its_pieces_still_answers(caplog: pytest.LogCaptureFixture) -> None:
    told, flight = Told(), FakeFlight(Defective())
    told.follow(flight)
    for _ in range(3):
        flight.bring("a")
    assert told.parts == []
    assert [record.getMessage() for record in caplog.records] == [
        "A defect in the task steps: its answer comes whole, without parts."
    ]


TRACE = (Header.TRACEPARENT, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def an_arrival(key: bytes | None = b"key", headers: Headers = (TRACE,)) -> Arrival:
    record = Record("requests", 3, 41, key, b"{}", headers, 0)
    return Arrival(record, header_map(record), "replies.mine", 2, "t1")


PART = AnswerPart(4, 7, b'["a"]', "small", "v1")


def test_a_chunk_goes_where_the_reply_will_go() -> None:
    message = ReplyBuilder("steps", 1_000).chunk(an_arrival(), PART)
    assert message is not None
    assert message._replace(value=b"") == Message("replies.mine", b"", b"key", (TRACE,), 2)
    assert decode_reply(message.value) == Chunk(
        "t1", 4, "steps", "small", "v1", from_=7, output=msgspec.Raw(b'["a"]')
    )


def test_a_long_key_is_not_repeated_by_each_chunk() -> None:
    builder = ReplyBuilder("steps", 1_000)
    for length, key in ((MAX_KEY_BYTES, b"k" * MAX_KEY_BYTES), (MAX_KEY_BYTES + 1, b"t1")):
        message = builder.chunk(an_arrival(b"k" * length), PART)
        assert message is not None
        assert (message.key, message.partition) == (key, 2)


def test_a_chunk_larger_than_a_reply_may_be_is_none() -> None:
    assert (
        ReplyBuilder("steps", 1_000).chunk(an_arrival(), PART._replace(output=b"[%s]" % (b"1" * 900))) is None
    )


@pytest.fixture
async def rig() -> AsyncIterator[ChunksRig]:
    opened = ChunksRig()
    async with asyncio.timeout(20), opened.engine:
        yield opened
        opened.session.release()


def joined(chunks: list[tuple[int, int, str]]) -> str:
    """The text of chunks that are whole, each once, in order."""
    text = ""
    for number, (seq, start, pieces) in enumerate(chunks):
        assert (seq, start) == (number, len(text))
        assert pieces
        text += pieces
    return text


async def test_an_answer_is_told_while_it_is_made_and_ends_with_the_whole(rig: ChunksRig) -> None:
    rig.session.stall()
    rig.ask("t1", "abcdef")
    await asyncio.to_thread(rig.session.wait_for_runs, 1)
    rig.session.release()
    await rig.until_ended("t1")
    chunks = rig.told("t1")
    assert "abcdef".startswith(joined(chunks))
    end = rig.end("t1")
    assert isinstance(end, Result)
    assert msgspec.json.decode(end.output)["text"] == "abcdef"
    assert (end.seq, rig.replies[-1]) == (len(chunks), end)
    assert f'inferstream_chunks_total{{task="steps"}} {len(chunks)}.0' in rig.metrics.render().decode()


async def test_without_stream_or_from_the_cache_an_answer_comes_whole(rig: ChunksRig) -> None:
    rig.ask("plain", stream=False)
    await rig.until_ended("plain")
    rig.ask("cached")
    await rig.until_ended("plain", "cached")
    assert [type(reply) for reply in rig.replies] == [Result, Result]
    assert [reply.seq for reply in rig.replies] == [0, 0]


async def test_a_slow_reader_is_told_what_has_come_meanwhile_in_one(rig: ChunksRig) -> None:
    slot = rig.ask("t1", "x" * 200)
    while not rig.published:  # noqa: ASYNC110 - a lane's thread changes it
        await asyncio.sleep(0)
    while rig.window.running:  # noqa: ASYNC110 - a lane's thread changes it
        await asyncio.sleep(0)
    assert [type(reply) for reply in rig.replies] == [Chunk, Result]
    assert slot.chunks is None


async def test_an_equal_request_on_the_device_is_told_the_pieces_so_far_then_live_ones(
    rig: ChunksRig,
) -> None:
    rig.session.stalled_at = 30
    rig.ask("first", "x" * 300, key=None)
    while not rig.told("first"):
        await rig.step()
    await asyncio.to_thread(rig.session.wait_for_runs, 31)
    rig.ask("second", "x" * 300, key=None)
    rig.session.release()
    await rig.until_ended("first", "second")
    assert joined(rig.told("second")) in "x" * 300
    end = rig.end("second")
    assert isinstance(end, Result)
    assert (end.cache, end.seq) == ("flight", len(rig.told("second")))


async def test_a_later_request_of_the_key_is_told_after_the_end_of_the_earlier_one(rig: ChunksRig) -> None:
    for number in range(3):
        rig.ask(f"{number}", f"{number}" * 50)
    await rig.until_ended("0", "1", "2")
    order = [reply.id for reply in rig.replies]
    assert order == sorted(order)


async def test_an_attempt_in_place_goes_on_behind_the_pieces_that_were_told(rig: ChunksRig) -> None:
    rig.session.gone_at = 30
    rig.ask("t1", "abcdefghij" * 5)
    await rig.until_ended("t1")
    assert len(rig.session.runs) > 60
    assert ("abcdefghij" * 5).startswith(joined(rig.told("t1")))
    assert isinstance(rig.end("t1"), Result)


async def test_pieces_that_another_attempt_would_make_otherwise_are_not_mixed(rig: ChunksRig) -> None:
    """An answer that may vary, of which some was told, ends with its Failure."""
    rig.session.gone_at = 30
    rig.ask("t1", "abcdefghij" * 5, options={"unsure": True})
    await rig.until_ended("t1")
    end = rig.end("t1")
    assert isinstance(end, Failure)
    assert (end.code, end.seq) == ("device_unavailable", len(rig.told("t1")))
    assert end.seq > 0
    assert len(rig.session.runs) == 30


async def test_an_answer_that_may_vary_is_tried_again_before_anything_is_told(rig: ChunksRig) -> None:
    rig.session.gone_at = 0
    rig.ask("t1", options={"unsure": True})
    await rig.until_ended("t1")
    assert isinstance(rig.end("t1"), Result)


async def test_a_partition_that_is_revoked_leaves_no_watcher(rig: ChunksRig) -> None:
    rig.session.stall()
    slot = rig.ask("t1", "abc")
    await asyncio.to_thread(rig.session.wait_for_runs, 1)
    (flight,) = rig.engine.flights._flights.values()
    assert flight.watchers == [slot.say]
    rig.window.forget([TopicPartition(TOPICS.requests, 0)])
    assert slot.task is not None
    await asyncio.wait([slot.task])
    assert flight.watchers == []
    rig.session.release()
