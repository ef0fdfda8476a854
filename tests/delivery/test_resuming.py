"""Where a request goes on that another worker has begun: read from the reply topic, and fenced by a mark."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from inferstream.pipeline.broker.base import Consumer, Message, Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.delivery import reply_log
from inferstream.pipeline.delivery.arrival import Arrival
from inferstream.pipeline.delivery.replies import ReplyBuilder
from inferstream.pipeline.delivery.resumed import Resumed
from inferstream.pipeline.delivery.resuming import GIVE_UP_S, Resuming
from inferstream.pipeline.errors import BrokerError
from inferstream.schemas.codec import decode_reply, encode
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")
KEY = b"k"


def an_arrival(identity: str, partition: int = 0, key: bytes | None = KEY) -> Arrival:
    record = Record(TOPICS.requests, partition, 0, key, b"{}", (), 0)
    return Arrival(record, {}, TOPICS.replies, partition, identity)


class Place:
    """A reply topic, and what a worker of the epoch 5 finds on it."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.clock = FakeClock()
        self.opened = 0
        self.before_marks: list[Callable[[], Any]] = []
        self.replies = ReplyBuilder("steps", 1_000_000)
        self.resuming = Resuming(broker, str, self._mark, clock=self.clock)
        consume = broker.consume

        async def counted(*arguments: Any, **more: Any) -> Consumer:
            self.opened += 1
            return await consume(*arguments, **more)

        broker.consume = counted  # type: ignore[method-assign]

    async def tell(
        self,
        identity: str,
        start: int,
        pieces: str,
        epoch: int | None = 1,
        seq: int = 0,
        key: bytes = KEY,
        version: str = "1",
    ) -> None:
        output = msgspec.Raw(msgspec.json.encode(list(pieces)))
        at = UNSET if epoch is None else epoch
        await self.put(Chunk(identity, seq, "steps", "m", version, start, output, at), key)

    async def put(self, reply: Reply, key: bytes = KEY, partition: int = 0) -> None:
        await self.broker.publish(Message(TOPICS.replies, encode(reply), key, (), partition))

    async def found(self, *identities: str, epoch: int = 5) -> list[Resumed]:
        asked = [self.resuming.resumed(an_arrival(identity), epoch) for identity in identities]
        return [one._replace(pieces=list(one.pieces)) for one in await asyncio.gather(*asked)]

    async def told(self) -> list[Chunk]:
        reader = await self.broker.consume([TOPICS.replies])
        replies = [decode_reply(record.value) for record in await reader.poll(1_000, 0)]
        await reader.close()
        return [reply for reply in replies if isinstance(reply, Chunk)]

    def _mark(self, arrival: Arrival, begun: Resumed) -> Message:
        if begun.epoch:
            for publish in self.before_marks:
                publish()
            self.before_marks.clear()
        return self.replies.mark(arrival, begun)


@asynccontextmanager
async def a_place() -> AsyncIterator[Place]:
    async with asyncio.timeout(30), EmbeddedBroker() as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.replies, 2)])
        place = Place(broker)
        running = asyncio.create_task(place.resuming.run())
        try:
            yield place
        finally:
            running.cancel()
            await asyncio.wait([running])


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with a_place() as found:
        yield found


async def test_what_was_told_is_found_and_a_mark_is_behind_it(place: Place) -> None:
    await place.tell("a", 0, "ab")
    await place.tell("b", 0, "x")
    await place.tell("a", 2, "c", seq=1)
    assert await place.found("a", "b", "new") == [
        Resumed(list("abc"), 5, 3, "1"),
        Resumed(["x"], 5, 2, "1"),
        Resumed([], 5, 1),
    ]
    assert place.opened == 1, "they share one reading"
    marks = [(mark.id, mark.seq, mark.from_, bytes(mark.output), mark.epoch) for mark in await place.told()]
    assert marks[3:] == [("a", 2, 0, b"[]", 5), ("b", 1, 0, b"[]", 5), ("new", 0, 0, b"[]", 5)]


async def test_chunks_that_are_cut_otherwise_or_come_again_join(place: Place) -> None:
    for start, pieces in ((0, "ab"), (1, "bcd"), (0, "a"), (3, "de"), (9, "gap")):
        await place.tell("a", start, pieces)
    ((pieces, *_),) = await place.found("a")
    assert pieces == list("abcde")


async def test_the_pieces_of_another_model_that_begins_anew_replace_those_before(place: Place) -> None:
    await place.tell("a", 0, "abcd", version="old")
    await place.tell("a", 4, "", version="", epoch=2, seq=1)
    await place.tell("a", 0, "x", version="new", epoch=2, seq=2)
    await place.tell("a", 1, "y", version="new", epoch=2, seq=3)
    assert await place.found("a") == [Resumed(["x", "y"], 5, 5, "new")]


async def test_what_a_replaced_worker_tells_before_the_mark_is_kept_and_behind_it_not(place: Place) -> None:
    """The log decides, so all readers know the same."""
    await place.tell("a", 0, "ab", epoch=1)

    def late() -> None:
        chunk = Chunk("a", 1, "steps", "m", "1", 2, msgspec.Raw(b'["c"]'), 1)
        place.broker.publish(Message(TOPICS.replies, encode(chunk), KEY, (), 0))

    place.before_marks.append(lambda: None)  # of the name
    place.before_marks.append(late)
    assert await place.found("a") == [Resumed(list("abc"), 5, 3, "1")]
    await place.tell("a", 3, "behind", epoch=1, seq=2)
    assert (await place.found("a", epoch=7))[0].pieces == list("abc")


async def test_of_two_workers_before_it_the_later_one_counts(place: Place) -> None:
    await place.tell("a", 0, "ab", epoch=2)
    await place.tell("a", 0, "", epoch=3)
    await place.tell("a", 2, "zombie", epoch=2)
    await place.tell("a", 2, "cd", epoch=3)
    assert (await place.found("a"))[0].pieces == list("abcd")


async def test_the_epoch_is_higher_than_all_that_were_told(place: Place) -> None:
    """The numbers of a group begin anew when it was deleted; a static member keeps its number."""
    await place.tell("a", 0, "ab", epoch=5)
    await place.tell("b", 0, "ab", epoch=70)
    await place.tell("c", 0, "ab", epoch=None)
    assert [one.epoch for one in await place.found("a", "b", "c")] == [6, 71, 5]


@pytest.mark.parametrize(
    "end",
    [
        Result("a", "steps", "m", "1", msgspec.Raw(b"{}"), epoch=1),
        Failure("a", "steps", "cancelled", "because"),
    ],
)
async def test_behind_an_end_a_request_begins_anew(place: Place, end: Reply) -> None:
    await place.tell("a", 0, "ab")
    await place.put(end)
    assert (await place.found("a"))[0].pieces == []


async def test_the_end_of_a_replaced_worker_is_none(place: Place) -> None:
    await place.tell("a", 0, "ab", epoch=2)
    await place.put(Failure("a", "steps", "cancelled", "because", epoch=1))
    assert (await place.found("a"))[0].pieces == ["a", "b"]


async def test_an_equal_id_of_another_key_is_another_request(place: Place) -> None:
    await place.tell("a", 0, "ab", key=b"of another conversation")
    assert (await place.found("a"))[0].pieces == []


async def test_a_later_request_of_the_same_id_reads_again(place: Place) -> None:
    await place.tell("a", 0, "ab")
    assert (await place.found("a"))[0].pieces == ["a", "b"]
    await place.tell("a", 2, "cd", epoch=5, seq=2)
    assert await place.found("a", epoch=6) == [Resumed(list("abcd"), 6, 4, "1")]


async def test_what_cannot_be_read_begins_at_the_first_piece_behind_a_mark(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    await place.tell("a", 0, "ab")
    opened = place.broker.consume
    denied = 0

    async def deny(*_: Any, **__: Any) -> Consumer:
        nonlocal denied
        denied += 1
        raise BrokerError("Kafka does not let you read it: grant it Read")

    place.broker.consume = deny  # type: ignore[method-assign]
    assert await place.found("a", "b") == [Resumed([], 5, 1), Resumed([], 5, 1)]
    assert "cannot be read (Kafka does not let you read it: grant it Read)" in caplog.text
    assert (await place.found("c"), denied) == ([Resumed([], 5, 1)], 1), "it is not tried at once again"
    place.clock.advance(GIVE_UP_S + 1)
    place.broker.consume = opened  # type: ignore[method-assign]
    assert (await place.found("a", epoch=6))[0].pieces == ["a", "b"]


@pytest.mark.parametrize("limit", ["READ_BYTES", "KEPT_BYTES"])
async def test_what_is_too_much_is_not_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(reply_log, limit, 100)
    await place.tell("a", 0, "ab" * 300)
    assert (await place.found("a"))[0].pieces == []


async def test_pieces_of_another_type_are_left_out(place: Place) -> None:
    chunk = Chunk("a", 0, "steps", "m", "1", 0, msgspec.Raw(b"[1,2]"), 1)
    await place.put(chunk)
    assert (await place.found("a"))[0].pieces == []


async def test_any_bytes_on_the_topic_are_passed_over(place: Place) -> None:
    await place.tell("a", 0, "ab")
    for value in (b"", b"\xff", b'{"type":"chunk","id":"a"}', b"[" * 10_000):
        await place.broker.publish(Message(TOPICS.replies, value, KEY, (), 0))
    chunk = Chunk("a", 0, "steps", "m", "1", -5, msgspec.Raw(b'{"not":"a list"}'), 1)
    await place.put(chunk)
    assert (await place.found("a"))[0].pieces == ["a", "b"]


async def test_a_request_that_is_no_longer_wanted_disturbs_no_other(place: Place) -> None:
    await place.tell("b", 0, "ab")
    left = asyncio.create_task(place.resuming.resumed(an_arrival("a"), 5))
    await asyncio.sleep(0)
    left.cancel()
    assert (await place.found("b"))[0].pieces == ["a", "b"]
