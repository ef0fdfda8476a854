"""An answer in pieces through the client: each piece once and in order, whatever comes, and the errors of its end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.responder import TIMEOUT_S, Behavior, Responder
from support.steps_worker import know_steps

from inferstream import Client, InferstreamError, Overloaded, Request, ShuttingDown, Timeout, UsageError
from inferstream.pipeline.broker.base import TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.client.pieces import CHUNK_OVERHEAD, MAX_UNREAD_BYTES, Pieces
from inferstream.pipeline.client.stream import Stream
from inferstream.pipeline.lab.steps import StepsOutput
from inferstream.schemas.cancels import Cancel, decode_cancel
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")
ANSWER = "abcdefgh"


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    know_steps(monkeypatch)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics(
            [TopicSpec(name, 4) for name in (TOPICS.requests, TOPICS.replies, TOPICS.cancels)]
        )
        yield broker


async def cancelled(broker: EmbeddedBroker, count: int = 0) -> list[str]:
    """The ids of the requests that the client has cancelled, once there are ``count`` of them."""
    reader = await broker.consume([TOPICS.cancels])
    ids: list[str] = []
    while (records := await reader.poll(100, 10)) or len(ids) < count:
        messages = [decode_cancel(record.value) for record in records]
        ids += [message.id for message in messages if isinstance(message, Cancel)]
    await reader.close()
    return ids


@asynccontextmanager
async def served(broker: EmbeddedBroker, behavior: Behavior) -> AsyncGenerator[Client]:
    responder = Responder(broker, behavior, TOPICS)
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks, Client(broker=broker) as client:
        running = tasks.create_task(responder.run())
        yield client
        running.cancel()


def a_chunk(request: Request, seq: int, start: int, pieces: str, output: bytes | None = None) -> Chunk:
    raw = msgspec.Raw(output or msgspec.json.encode(list(pieces)))
    return Chunk(str(request.id), seq, "steps", "m", "1", from_=start, output=raw)


def an_end(request: Request, text: str = ANSWER, seq: int = 0) -> Result:
    output = msgspec.Raw(msgspec.json.encode(StepsOutput(text, len(text))))
    return Result(str(request.id), "steps", "m", "1", output, seq=seq)


def telling(*chunks: tuple[int, str], end: bool = True) -> Behavior:
    """Chunks, each a start and its pieces, and the end behind them."""

    def behave(_: object, request: Request) -> list[Reply]:
        assert request.stream
        told: list[Reply] = [
            a_chunk(request, seq, start, pieces) for seq, (start, pieces) in enumerate(chunks)
        ]
        return [*told, an_end(request, seq=len(chunks))] if end else told

    return behave


async def read(stream: Stream[Any, Any]) -> str:
    return "".join([piece async for piece in stream])


CUTS = {
    "in order": [(0, "abc"), (3, "de"), (5, "f")],
    "again from the start, cut otherwise": [(0, "abc"), (3, "d"), (0, "ab"), (2, "cdef")],
    "with a gap": [(0, "ab"), (4, "ef"), (6, "gh")],
    "behind a gap": [(5, "fgh")],
    "out of order": [(3, "de"), (0, "abc")],
    "none": [],
    "all": [(0, ANSWER)],
    "before the start": [(-1, "xabc"), (0, "abc")],
    "empty": [(0, ""), (0, "ab"), (2, "")],
}


@pytest.mark.parametrize("cut", CUTS)
async def test_each_piece_comes_once_and_the_end_brings_what_no_chunk_has(
    broker: EmbeddedBroker, cut: str
) -> None:
    async with (
        served(broker, telling(*CUTS[cut])) as client,
        client.stream("steps", "a text") as stream,
    ):
        assert await read(stream) == ANSWER
        answer = await stream.answer()
    assert answer.output == StepsOutput(ANSWER, 8)
    assert answer.reply.seq == len(CUTS[cut])
    assert await cancelled(broker) == []


async def test_pieces_come_while_the_answer_is_being_made(broker: EmbeddedBroker) -> None:
    async with (
        served(broker, telling((0, "abc"), (3, "d"), end=False)) as client,
        client.stream("steps", "a text") as stream,
    ):
        assert [await anext(stream) for _ in range(4)] == list("abcd")


async def test_a_failure_is_raised_in_the_loop_behind_the_pieces_before_it(broker: EmbeddedBroker) -> None:
    def behave(_: object, request: Request) -> list[Reply]:
        return [
            a_chunk(request, 0, 0, "abc"),
            Failure(str(request.id), "steps", "overloaded", "Come back later.", seq=1),
        ]

    async with served(broker, behave) as client, client.stream("steps", "a text") as stream:
        assert [await anext(stream) for _ in range(3)] == list("abc")
        for use in (anext(stream), stream.answer(), anext(stream)):
            with pytest.raises(Overloaded, match="Come back later"):
                await use
    assert await cancelled(broker) == []


async def test_a_timeout_is_raised_in_the_loop(broker: EmbeddedBroker) -> None:
    async with (
        served(broker, telling((0, "ab"), end=False)) as client,
        client.stream("steps", "a text", timeout_s=0.5) as stream,
    ):
        with pytest.raises(Timeout):
            await read(stream)


@pytest.mark.parametrize("how", ["break", "an error", "cancelled"])
async def test_a_stream_that_is_left_early_ends_its_request(broker: EmbeddedBroker, how: str) -> None:
    async def use(client: Client) -> None:
        async with client.stream("steps", "a text", id="t1") as stream:
            async for _ in stream:
                if how == "an error":
                    raise KeyError
                if how == "break":
                    break

    async with served(broker, telling((0, "a"), end=False)) as client:
        using = asyncio.create_task(use(client))
        if how == "cancelled":
            while "steps" not in client._replies or not client._replies["steps"].is_pending("t1"):  # noqa: ASYNC110
                await asyncio.sleep(0)
            using.cancel()
        await asyncio.wait([using])
        await asyncio.sleep(0)
        assert await cancelled(broker, 1) == ["t1"]
        assert not client._replies["steps"].is_pending("t1")


@pytest.mark.parametrize("whole", ["abXdefgh", "ab"])
async def test_an_answer_that_was_made_again_otherwise_is_an_error_in_the_loop(
    broker: EmbeddedBroker, whole: str
) -> None:
    """A worker was killed, and the answer of its task may vary. Nothing is shown behind a piece that differs."""

    def behave(_: object, request: Request) -> list[Reply]:
        return [a_chunk(request, 0, 0, "abc"), a_chunk(request, 0, 0, "abXd"), an_end(request, whole, 1)]

    async with served(broker, behave) as client, client.stream("steps", "a text") as stream:
        assert [await anext(stream) for _ in range(3)] == list("abc")
        with pytest.raises(InferstreamError, match="begins otherwise than the pieces that were shown"):
            await anext(stream)
        assert (await stream.answer()).output.text == whole


def of_epoch(reply: Reply, epoch: int) -> Reply:
    return msgspec.structs.replace(reply, epoch=epoch)


@pytest.mark.parametrize("end", ["result", "failure"])
async def test_behind_the_mark_of_a_worker_nothing_of_an_earlier_one_counts(
    broker: EmbeddedBroker, end: str
) -> None:
    """Not even its end. Chunks without an epoch are of a worker of an earlier version; its end counts."""

    def behave(_: object, request: Request) -> list[Reply]:
        failure = Failure(request.id or "", "steps", "cancelled", "because", epoch=1)
        return [
            of_epoch(a_chunk(request, 0, 0, "ab"), 1),
            of_epoch(a_chunk(request, 1, 0, ""), 2),
            of_epoch(a_chunk(request, 1, 2, "XY"), 1),
            a_chunk(request, 1, 2, "Z"),
            of_epoch(an_end(request, "abXY", 2), 1) if end == "result" else failure,
            of_epoch(a_chunk(request, 2, 2, "cd"), 2),
            of_epoch(an_end(request, "abcd", 3), 2),
        ]

    async with served(broker, behave) as client, client.stream("steps", "a text") as stream:
        assert await read(stream) == "abcd"
        assert (await stream.answer()).output.text == "abcd"


async def test_an_answer_without_a_loop_is_the_whole(broker: EmbeddedBroker) -> None:
    async with served(broker, telling((0, "abc"))) as client:
        async with client.stream("steps", "a text") as stream:
            answer = await stream.answer()
        assert answer.output.text == ANSWER
        assert await read(stream) == ANSWER, "also behind the block"


async def test_a_chunk_of_another_shape_is_an_error_and_ends_the_request(broker: EmbeddedBroker) -> None:
    def behave(_: object, request: Request) -> list[Reply]:
        return [a_chunk(request, 0, 0, "ab"), a_chunk(request, 1, 2, "", b'[{"not": "a string"}]')]

    async with served(broker, behave) as client:
        async with client.stream("steps", "a text") as stream:
            assert [await anext(stream), await anext(stream)] == ["a", "b"]
            with pytest.raises(InferstreamError, match="cannot be decoded as pieces of `steps`"):
                await anext(stream)
        assert await cancelled(broker, 1) == [stream.id]


async def test_pieces_of_a_task_that_is_not_known_here_are_plain_json(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    async with (
        served(broker, telling((0, "ab"), (2, "c"))) as client,
        client.stream("steps", "a text") as stream,
    ):
        assert await read(stream) == "abc"
        assert (await stream.answer()).output == {"text": ANSWER, "steps": 8}


async def test_a_stream_is_used_in_its_block(broker: EmbeddedBroker) -> None:
    async with served(broker, telling()) as client:
        stream = client.stream("steps", "a text")
        for use in (anext(stream), stream.answer()):
            with pytest.raises(UsageError, match="Enter the stream first"):
                await use
        async with stream:
            assert await read(stream) == ANSWER
        with pytest.raises(UsageError, match="entered before"):
            await stream.__aenter__()
        async with client.stream("steps", "a text") as left:
            pass
        with pytest.raises(UsageError, match="left before its end"):
            await anext(left)


async def test_a_closed_client_ends_its_streams(broker: EmbeddedBroker) -> None:
    async with (
        served(broker, telling((0, "a"), end=False)) as client,
        client.stream("steps", "a text") as stream,
    ):
        assert await anext(stream) == "a"
        client.abandon()
        with pytest.raises(ShuttingDown):
            await anext(stream)


async def test_what_a_program_does_not_read_is_bounded_and_comes_with_the_end(broker: EmbeddedBroker) -> None:
    whole = "x" * 700_000

    def behave(_: object, request: Request) -> list[Reply]:
        size = 100_000
        chunks = [
            a_chunk(request, seq, seq * size, "", msgspec.json.encode(["x"] * size)) for seq in range(7)
        ]
        return [*chunks, an_end(request, whole, 7)]

    async with served(broker, behave) as client, client.stream("steps", "a text") as stream:
        await stream.answer()
        assert 0 < stream._pieces._unread_bytes <= MAX_UNREAD_BYTES
        assert await read(stream) == whole


CHUNKS = st.lists(st.tuples(st.integers(-2, 14), st.integers(0, 9), st.booleans()), max_size=20)


@given(CHUNKS, st.integers(0, 12))
def test_pieces_join_however_they_are_cut_repeated_lost_and_read(
    chunks: Sequence[tuple[int, int, bool]], length: int
) -> None:
    whole = list(range(length))
    pieces, taken = Pieces(), list[int]()
    for start, count, reads in chunks:
        known = len(taken) + sum(len(some) for some, _ in pieces._unread) - pieces._next
        part = whole[max(0, start) : max(0, start) + count]
        is_new = 0 <= start <= known < start + len(part)
        assert pieces.add(start, part, 10) == is_new
        while reads and pieces:
            taken.append(pieces.take())
    assert pieces.finish(whole)
    while pieces:
        taken.append(pieces.take())
    assert taken == whole
    assert pieces._unread_bytes == 0


def test_chunks_without_room_are_left_out() -> None:
    pieces = Pieces()
    size = MAX_UNREAD_BYTES // 2 - CHUNK_OVERHEAD
    assert [pieces.add(number, ["x"], size) for number in range(4)] == [True, True, False, False]
    assert [pieces.take(), pieces.take()] == ["x", "x"]
    assert not pieces
    assert not pieces.add(3, ["z"], size), "behind the gap"
    assert pieces.add(2, ["y"], size), "it came again"
