"""An answer is told in parts while it is being made: each piece once, in order, over all attempts."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.handler_rig import handler_over
from support.told_rig import FakeFlight, Told

from inferstream.pipeline.broker.base import Headers, Message, Record, TopicPartition
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import RetryConfig, WindowConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.chunks import CHUNK_BYTES, PIECE_BYTES, AnswerPart
from inferstream.pipeline.delivery.outcome import Outcome, PendingOutcome
from inferstream.pipeline.delivery.replies import MAX_KEY_BYTES, ReplyBuilder
from inferstream.pipeline.delivery.slots import Slot
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.lab.steps import Steps, StepsModel
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
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


class UnavailableSession(FakeSession):
    """Is unavailable in the run with one number, and stalled from another on."""

    gone_at = -1
    stalled_at = -1

    def run(self, feeds: Any) -> Any:
        if len(self.runs) == self.stalled_at:
            self.stall()
        if len(self.runs) == self.gone_at:
            self.gone_at = -1
            raise DeviceUnavailable("The device is gone: it is tried again.")
        return super().run(feeds)


async def four(topic: str) -> int | None:
    return 4


class Rig:
    """A handler of the task `steps`, and a window over a broker that acknowledges when it is told to."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.session = UnavailableSession()
        model = StepsModel(self.session)
        costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in model.phases}
        device = Device(model, Limits(4_096, 64), costs, LaneSettings(1, clock, clock))
        served = {"steps": {"steps": ModelEntry(Steps(), device)}}
        self.engine = Engine(served, memory=MemoryCache(1_000_000), disk=None, clock=clock)
        retries = RetryConfig(tiers_s=[0], max_attempts=3, budget_share=1.0)
        self.metrics = WorkerMetrics()
        self.handler = handler_over(
            self.engine,
            topics=TOPICS,
            partitions=four,
            retries=retries,
            metrics=self.metrics.of_task("steps"),
        )
        self.published: list[tuple[Message, asyncio.Future[None]]] = []
        self.window = Window(WindowConfig(), self._publish)
        self._offset = 0

    def ask(self, identity: str, text: str = "abc", *, key: bytes | None = b"k", **more: Any) -> Slot:
        """Admit a request, and answer it in the background."""
        body = json.dumps({"id": identity, "text": text, "stream": True} | more).encode()
        record = Record(TOPICS.requests, 0, self._offset, key, body, (), 0)
        self._offset += 1
        slot = self.window.admit(record)
        outcome = self.handler.handle(record, slot)
        if isinstance(outcome, Outcome):
            self.window.complete(slot, outcome)
        else:
            slot.task = asyncio.create_task(self._complete(slot, outcome))
        return slot

    async def step(self) -> None:
        """Acknowledge all that is published, and wait for more."""
        known = len(self.published)
        for _, future in self.published:
            if not future.done():
                future.set_result(None)
        while len(self.published) == known:  # noqa: ASYNC110 - a lane's thread changes it
            await asyncio.sleep(0)

    async def until_ended(self, *identities: str) -> None:
        while {reply.id for reply in self.replies if not isinstance(reply, Chunk)} != set(identities):
            await self.step()

    @property
    def replies(self) -> list[Reply]:
        return [
            decode_reply(message.value) for message, _ in self.published if message.topic == TOPICS.replies
        ]

    def told(self, identity: str) -> list[tuple[int, int, str]]:
        """The seq, start and pieces of each chunk of the request."""
        return [
            (reply.seq, reply.from_, "".join(msgspec.json.decode(reply.output)))
            for reply in self.replies
            if isinstance(reply, Chunk) and reply.id == identity
        ]

    def end(self, identity: str) -> Result | Failure:
        (end,) = [reply for reply in self.replies if reply.id == identity and not isinstance(reply, Chunk)]
        assert not isinstance(end, Chunk)
        return end

    def _publish(self, message: Message) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.published.append((message, future))
        return future

    async def _complete(self, slot: Slot, outcome: PendingOutcome) -> None:
        self.window.complete(slot, await outcome)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    opened = Rig()
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


async def test_an_answer_is_told_while_it_is_made_and_ends_with_the_whole(rig: Rig) -> None:
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


async def test_without_stream_or_from_the_cache_an_answer_comes_whole(rig: Rig) -> None:
    rig.ask("plain", stream=False)
    await rig.until_ended("plain")
    rig.ask("cached")
    await rig.until_ended("plain", "cached")
    assert [type(reply) for reply in rig.replies] == [Result, Result]
    assert [reply.seq for reply in rig.replies] == [0, 0]


async def test_a_slow_reader_is_told_what_has_come_meanwhile_in_one(rig: Rig) -> None:
    slot = rig.ask("t1", "x" * 200)
    while not rig.published:  # noqa: ASYNC110 - a lane's thread changes it
        await asyncio.sleep(0)
    while rig.window.running:  # noqa: ASYNC110 - a lane's thread changes it
        await asyncio.sleep(0)
    assert [type(reply) for reply in rig.replies] == [Chunk, Result]
    assert slot.chunks is None


async def test_an_equal_request_on_the_device_is_told_the_pieces_so_far_then_live_ones(rig: Rig) -> None:
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


async def test_a_later_request_of_the_key_is_told_after_the_end_of_the_earlier_one(rig: Rig) -> None:
    for number in range(3):
        rig.ask(f"{number}", f"{number}" * 50)
    await rig.until_ended("0", "1", "2")
    order = [reply.id for reply in rig.replies]
    assert order == sorted(order)


async def test_an_attempt_in_place_goes_on_behind_the_pieces_that_were_told(rig: Rig) -> None:
    rig.session.gone_at = 30
    rig.ask("t1", "abcdefghij" * 5)
    await rig.until_ended("t1")
    assert len(rig.session.runs) > 60
    assert ("abcdefghij" * 5).startswith(joined(rig.told("t1")))
    assert isinstance(rig.end("t1"), Result)


async def test_pieces_that_another_attempt_would_make_otherwise_are_not_mixed(rig: Rig) -> None:
    """An answer that may vary, of which some was told, ends with its Failure."""
    rig.session.gone_at = 30
    rig.ask("t1", "abcdefghij" * 5, options={"unsure": True})
    await rig.until_ended("t1")
    end = rig.end("t1")
    assert isinstance(end, Failure)
    assert (end.code, end.seq) == ("device_unavailable", len(rig.told("t1")))
    assert end.seq > 0
    assert len(rig.session.runs) == 30


async def test_an_answer_that_may_vary_is_tried_again_before_anything_is_told(rig: Rig) -> None:
    rig.session.gone_at = 0
    rig.ask("t1", options={"unsure": True})
    await rig.until_ended("t1")
    assert isinstance(rig.end("t1"), Result)


async def test_a_partition_that_is_revoked_leaves_no_watcher(rig: Rig) -> None:
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
