"""The window's promises, by a state machine that admits, answers, acknowledges and forgets in any order."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferstream.pipeline.broker.base import Headers, Message, Record, TopicPartition
from inferstream.pipeline.config import WindowConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.slots import Slot, order_matters, size_of
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.errors import BrokerError, NotWritable, ReplyTooLarge
from inferstream.pipeline.ops.audit.facts import Audited, RequestFact
from inferstream.schemas.topics import ANY_ORDER, Header, Topics

TOPIC = "requests"
P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
BOUNDS = WindowConfig(max_in_flight=12, max_span=8)
ANY = ((Header.ORDER, ANY_ORDER),)


def a_record(offset: int, key: bytes | None = None, partition: int = 0, headers: Headers = ()) -> Record:
    return Record(TOPIC, partition, offset, key, b"{}", headers, 0)


def a_message(record: Record, text: str = "reply") -> Message:
    """A reply that names its record."""
    return Message("replies", f"{record.partition}/{record.offset}/{text}".encode(), record.key)


PIECE, LETTER, NOTICE = "piece 0", "letter", "notice"
SMALLER = {PIECE: "smaller", LETTER: NOTICE}
"""What replaces a message that the broker refuses for its size."""


def text_of(message: Message) -> str:
    return message.value.decode().rpartition("/")[2]


class Admitted(NamedTuple):
    """A record and its slot."""

    slot: Slot
    record: Record


def admit(window: Window, record: Record) -> Admitted:
    return Admitted(window.admit(record), record)


class FakePublisher:
    """Keeps what is published; the test acknowledges or refuses it."""

    def __init__(self) -> None:
        self.published: list[tuple[Message, asyncio.Future[None]]] = []

    def __call__(self, message: Message) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_event_loop_policy().get_event_loop().create_future()
        self.published.append((message, future))
        return future

    @property
    def open(self) -> list[tuple[Message, "asyncio.Future[None]"]]:
        return [entry for entry in self.published if not entry[1].done()]

    def acknowledge_all(self) -> None:
        for _, future in self.open:
            future.set_result(None)

    @property
    def texts(self) -> list[str]:
        return [message.value.decode() for message, _ in self.published]


@dataclass(eq=False)
class Tracked:
    """A record that was admitted, and its progress.

    Chunks are told first, perhaps; then comes an answer of some pieces, perhaps with a dead letter behind it.
    """

    record: Record
    slot: Slot
    known: int = 0
    told: int = 0
    is_refused: bool = False
    pieces: int = 0
    acknowledged: int = 0
    has_letter: bool = False
    has_letter_if_too_large: bool = False
    letter_is_durable: bool = False

    @property
    def key(self) -> bytes | None:
        """None also where the order does not matter."""
        return None if self.record.headers else self.record.key

    def next_chunk(self) -> Message | None:
        """All that is known and was not told, in one message."""
        if self.told == self.known:
            return None
        chunk = a_message(self.record, f"chunk {self.told}-{self.known}")
        self.told = self.known
        return chunk

    @property
    def answered(self) -> bool:
        return 0 < self.pieces == self.acknowledged

    @property
    def finished(self) -> bool:
        return self.answered and (self.letter_is_durable or not self.has_letter)


class AnyOrder(RuleBasedStateMachine):
    """Two partitions of one worker, against the plainest model of what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.publisher = FakePublisher()
        self.window = Window(BOUNDS, self.publisher)
        self.next_offset = {P0: 0, P1: 0}
        self.committed = {P0: 0, P1: 0}
        self.asked: dict[TopicPartition, dict[int, Tracked]] = {P0: {}, P1: {}}
        self.stale: list[asyncio.Future[None]] = []
        self.events = 0

    def teardown(self) -> None:
        self.turn()
        self.loop.close()
        asyncio.set_event_loop(None)

    def turn(self) -> None:
        """Let callbacks run."""
        self.loop.run_until_complete(asyncio.sleep(0))

    @property
    def unanswered(self) -> list[Tracked]:
        return [asked for records in self.asked.values() for asked in records.values() if asked.pieces == 0]

    def tracked_of(self, message: Message) -> Tracked:
        partition, offset, _ = message.value.decode().split("/")
        return self.asked[TopicPartition(TOPIC, int(partition))][int(offset)]

    def smaller_than(self, message: Message) -> str | None:
        """The text that replaces the message if the broker refuses its size."""
        text = text_of(message)
        return SMALLER.get(text) if text == LETTER or self.tracked_of(message).pieces == 1 else None

    @precondition(lambda self: self.window.room > 0)
    @rule(
        at=st.sampled_from([P0, P1]),
        key=st.sampled_from([None, b"a", b"b"]),
        headers=st.sampled_from([(), (), ANY]),
        gap=st.sampled_from([1, 1, 3]),
    )
    def admit(self, at: TopicPartition, key: bytes | None, headers: Headers, gap: int) -> None:
        if at in self.window.full_partitions():
            return
        offset = self.next_offset[at]
        self.next_offset[at] = offset + gap
        record = a_record(offset, key, at.partition, headers)
        self.asked[at][offset] = Tracked(record, self.window.admit(record))

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data(), more=st.integers(0, 3))
    def know_more(self, data: st.DataObject, more: int) -> None:
        """More of an answer is known while it is being made."""
        asked = data.draw(st.sampled_from(self.unanswered))
        asked.known += more
        if not asked.is_refused:
            asked.slot.chunks = asked.next_chunk
        asked.slot.say()

    @precondition(lambda self: self.unanswered)
    @rule(
        data=st.data(),
        pieces=st.sampled_from([1, 1, 3]),
        letter=st.sampled_from(["none", "behind", "behind the smaller"]),
    )
    def complete(self, data: st.DataObject, pieces: int, letter: str) -> None:
        """A dead letter is behind the answer, as behind a Failure, or only behind its smaller version, as
        behind a retry that is too large."""
        asked = data.draw(st.sampled_from(self.unanswered))
        record = asked.record
        asked.pieces, asked.has_letter = pieces, letter == "behind"
        asked.has_letter_if_too_large = letter != "none"
        notice = Outcome((a_message(record, NOTICE),))
        dead_letter = Outcome((a_message(record, LETTER),), lambda: notice)
        smaller = Outcome(
            (a_message(record, SMALLER[PIECE]),), then=dead_letter if letter == "behind the smaller" else None
        )
        messages = tuple(a_message(record, f"piece {n}") for n in range(pieces))
        then = dead_letter if letter == "behind" else None
        self.window.complete(asked.slot, Outcome(messages, lambda: smaller, then))

    @precondition(lambda self: self.publisher.open)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        message, future = data.draw(st.sampled_from(self.publisher.open))
        future.set_result(None)
        self.turn()
        asked = self.tracked_of(message)
        if text_of(message).startswith("chunk"):
            return
        if text_of(message) in (LETTER, NOTICE):
            asked.letter_is_durable = True
        else:
            asked.acknowledged += 1
        self.events += asked.finished

    @rule(data=st.data())
    def refuse_the_size(self, data: st.DataObject) -> None:
        refusable = [entry for entry in self.publisher.open if self.smaller_than(entry[0])]
        if not refusable:
            return
        message, future = data.draw(st.sampled_from(refusable))
        before = len(self.publisher.published)
        future.set_exception(ReplyTooLarge("too large"))
        self.turn()
        asked = self.tracked_of(message)
        asked.has_letter = asked.has_letter_if_too_large
        at = f"{asked.record.partition}/{asked.record.offset}"
        assert self.publisher.texts[before:] == [f"{at}/{self.smaller_than(message)}"]

    @rule(data=st.data(), error=st.sampled_from([ReplyTooLarge, NotWritable]))
    def refuse_a_chunk(self, data: st.DataObject, error: type[Exception]) -> None:
        """Its request gets no more of them. Nothing replaces it."""
        chunks = [entry for entry in self.publisher.open if "chunk" in text_of(entry[0])]
        if not chunks:
            return
        message, future = data.draw(st.sampled_from(chunks))
        before = len(self.publisher.published)
        future.set_exception(error("refused"))
        self.turn()
        self.tracked_of(message).is_refused = True
        assert len(self.publisher.published) == before

    @precondition(lambda self: self.stale)
    @rule()
    def acknowledge_what_is_forgotten(self) -> None:
        before = len(self.publisher.published)
        self.stale.pop().set_result(None)
        self.turn()
        assert len(self.publisher.published) == before

    @rule()
    def commit(self) -> None:
        moved = self.window.positions()
        for at, records in self.asked.items():
            position = self.committed[at]
            for offset in sorted(records):
                if offset >= position and not records[offset].finished:
                    break
                position = max(position, offset + 1)
            assert moved.get(at, self.committed[at]) == position, "the contiguous prefix of what is finished"
            assert (at in moved) == (position > self.committed[at])
            self.committed[at] = position

    @rule(at=st.sampled_from([P0, P1]))
    def forget(self, at: TopicPartition) -> None:
        """The partition is revoked and assigned again: records that are not committed come again."""
        self.window.forget([at])
        forgotten = [
            entry
            for entry in self.publisher.published
            if self.tracked_of(entry[0]).record.partition == at.partition
        ]
        self.stale += [future for _, future in forgotten if not future.done()]
        self.publisher.published = [entry for entry in self.publisher.published if entry not in forgotten]
        for asked in self.asked[at].values():
            if asked.pieces == 0:  # its answer comes too late
                asked.known += 1
                asked.slot.chunks = asked.next_chunk
                asked.slot.say()
                self.window.complete(asked.slot, Outcome((a_message(asked.record),)))
        self.asked[at] = {}
        self.next_offset[at] = self.committed[at]

    @invariant()
    def counts_are_right(self) -> None:
        assert self.window.running == len(self.unanswered)
        assert self.window.room == BOUNDS.max_in_flight - self.window.running >= 0
        assert self.window.terminal_events == self.events
        unfinished = [
            asked for records in self.asked.values() for asked in records.values() if not asked.finished
        ]
        assert self.window.bytes == sum(size_of(asked.record) for asked in unfinished)

    @invariant()
    def a_reply_goes_out_once_when_those_before_it_of_its_key_have(self) -> None:
        expected: set[str] = set()
        for records in self.asked.values():
            blocked = set()
            for offset, asked in sorted(records.items()):
                if asked.pieces == 0:
                    blocked.add(asked.key)
                elif asked.key is None or asked.key not in blocked:
                    at = f"{asked.record.partition}/{offset}"
                    expected |= {f"{at}/piece {n}" for n in range(asked.pieces)}
        assert sorted(text for text in self.publisher.texts if "piece" in text) == sorted(expected)

    @invariant()
    def a_part_is_told_once_it_is_known_and_its_turn_has_come(self) -> None:
        open_chunks = Counter(
            self.tracked_of(message).slot for message, _ in self.publisher.open if "chunk" in text_of(message)
        )
        assert not open_chunks or max(open_chunks.values()) == 1, "at most one of each record is not durable"
        for records in self.asked.values():
            blocked = set()
            for _, asked in sorted(records.items()):
                waits = asked.key is not None and asked.key in blocked
                if asked.pieces == 0:
                    blocked.add(asked.key)
                    if not (waits or asked.is_refused or open_chunks[asked.slot]):
                        assert asked.told == asked.known

    @invariant()
    def the_parts_of_a_record_are_whole_and_before_its_end(self) -> None:
        told: dict[Slot, int] = defaultdict(int)
        ended: set[Slot] = set()
        for message, _ in self.publisher.published:
            slot = self.tracked_of(message).slot
            kind, _, numbers = text_of(message).partition(" ")
            if kind == "chunk":
                start, end = numbers.split("-")
                assert (int(start), slot in ended) == (told[slot], False)
                told[slot] = int(end)
            else:
                ended.add(slot)

    @invariant()
    def a_dead_letter_goes_out_once_when_the_answer_before_it_is_durable(self) -> None:
        letters = [message for message, _ in self.publisher.published if text_of(message) == LETTER]
        expected = [
            a_message(asked.record, LETTER).value
            for records in self.asked.values()
            for asked in records.values()
            if asked.has_letter and asked.answered
        ]
        assert sorted(letter.value for letter in letters) == sorted(expected)

    @invariant()
    def replies_of_a_key_are_in_order(self) -> None:
        by_key: dict[tuple[bytes, str], list[int]] = defaultdict(list)
        for message, _ in self.publisher.published:
            partition, offset, text = message.value.decode().split("/")
            ordered = self.tracked_of(message).key is not None
            if message.key is not None and ordered and text.startswith(("piece", "chunk")):
                by_key[message.key, partition].append(int(offset))
        assert all(offsets == sorted(offsets) for offsets in by_key.values())

    @invariant()
    def a_full_span_is_reported(self) -> None:
        for at, records in self.asked.items():
            # What is finished leaves the span when the next commit is made, so it may count for a while.
            unfinished = [offset for offset, asked in records.items() if not asked.finished]
            if unfinished and max(records) - min(unfinished) + 1 >= BOUNDS.max_span:
                assert at in self.window.full_partitions()
            left = [offset for offset in records if offset >= self.committed[at]]
            if not left or max(left) - min(left) + 1 < BOUNDS.max_span:
                assert at not in self.window.full_partitions()


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=60)
TestAnyOrder = AnyOrder.TestCase


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def window(publisher: FakePublisher) -> Window:
    return Window(BOUNDS, publisher)


def answer(window: Window, admitted: Admitted) -> None:
    window.complete(admitted.slot, Outcome((a_message(admitted.record),)))


async def acknowledge(publisher: FakePublisher, *texts: str) -> None:
    for message, future in publisher.open:
        if not texts or message.value.decode() in texts:
            future.set_result(None)
    await asyncio.sleep(0)


async def test_a_publish_that_fails_for_good_ends_the_worker(
    window: Window, publisher: FakePublisher
) -> None:
    watching = asyncio.create_task(window.watch())
    slot = admit(window, a_record(0))
    answer(window, slot)
    publisher.open[0][1].set_exception(BrokerError("the broker is gone"))
    with pytest.raises(BrokerError, match="the broker is gone"):
        await asyncio.wait_for(watching, 5)
    assert window.positions() == {}
    assert window.terminal_events == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "under load"])
@pytest.mark.parametrize("turn_first", [False, True], ids=["the same turn", "a later turn"])
@pytest.mark.parametrize("order", ["admitted before", "admitted after"])
async def test_after_a_publish_has_failed_for_good_nothing_is_published(
    publisher: FakePublisher, busy: bool, turn_first: bool, order: str
) -> None:
    """Else the next reply of the key would overtake the one that failed, which the next owner publishes."""
    window = Window(BOUNDS, publisher, lambda: busy)
    first = admit(window, a_record(0, b"k"))
    early = [admit(window, a_record(1, b"k"))] if order == "admitted before" else []
    answer(window, first)
    while not publisher.open:  # noqa: ASYNC110 - what is waited for is the window's own timer
        await asyncio.sleep(0)
    publisher.open[0][1].set_exception(BrokerError("the broker is gone"))
    if turn_first:
        await asyncio.sleep(0)
    (second,) = early or [admit(window, a_record(1, b"k"))]
    other = admit(window, a_record(0, b"other", partition=1))
    answer(window, second)
    await asyncio.sleep(0)
    answer(window, other)
    with pytest.raises(BrokerError, match="the broker is gone"):
        await asyncio.wait_for(window.watch(), 5)
    while window._sender._linger._ready:  # noqa: ASYNC110 - what is waited for is the window's own timer
        await asyncio.sleep(0)
    assert publisher.texts == ["0/0/reply"]
    assert window.positions() == {}


async def test_a_failed_first_message_of_an_outcome_holds_back_the_others(publisher: FakePublisher) -> None:
    def refuse(message: Message) -> "asyncio.Future[None]":
        future = publisher(message)
        future.set_exception(BrokerError("the broker is gone"))
        return future

    window = Window(BOUNDS, refuse)
    slot, record = admit(window, a_record(0, b"k"))
    dead_letter = Outcome((a_message(record, "letter"),))
    window.complete(slot, Outcome((a_message(record, "1"), a_message(record, "2")), then=dead_letter))
    with pytest.raises(BrokerError):
        await asyncio.wait_for(window.watch(), 5)
    assert publisher.texts == ["0/0/1"]
    assert window.terminal_events == 0


async def test_keys_that_are_acknowledged_are_forgotten(window: Window, publisher: FakePublisher) -> None:
    for number in range(5):
        answer(window, admit(window, a_record(number, b"k%d" % (number % 2))))
    await acknowledge(publisher)
    queue = window._queues[P0]
    assert (queue.unacknowledged_of_key, queue.last_of_key) == ({}, {})


async def test_a_reply_that_is_too_large_without_a_replacement_ends_the_worker(
    window: Window, publisher: FakePublisher
) -> None:
    answer(window, admit(window, a_record(0)))
    publisher.open[0][1].set_exception(ReplyTooLarge("too large"))
    with pytest.raises(ReplyTooLarge):
        await asyncio.wait_for(window.watch(), 5)


async def test_a_reply_that_is_too_large_is_replaced_while_there_is_a_smaller_one(
    window: Window, publisher: FakePublisher
) -> None:
    slot, record = admit(window, a_record(0, b"k"))
    last = Outcome((a_message(record, "smallest"),))
    second = Outcome((a_message(record, "smaller"),), lambda: last)
    window.complete(slot, Outcome((a_message(record),), lambda: second))
    for _ in range(2):
        publisher.open[0][1].set_exception(ReplyTooLarge("too large"))
        await asyncio.sleep(0)
        assert window.terminal_events == 0
    await acknowledge(publisher)
    assert publisher.texts == ["0/0/reply", "0/0/smaller", "0/0/smallest"]
    assert (window.positions(), window.terminal_events) == ({P0: 1}, 1)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "under load"])
async def test_a_reply_refused_at_once_is_replaced_before_the_next_of_its_key(
    publisher: FakePublisher, busy: bool
) -> None:
    def refuse_large(message: Message) -> "asyncio.Future[None]":
        future = publisher(message)
        if message.value.endswith(b"/large"):
            future.set_exception(ReplyTooLarge("too large"))
        return future

    window = Window(BOUNDS, refuse_large, lambda: busy)
    first, second = admit(window, a_record(0, b"k")), admit(window, a_record(1, b"k"))
    answer(window, second)
    smaller = Outcome((a_message(first.record, "smaller"),))
    window.complete(first.slot, Outcome((a_message(first.record, "large"),), lambda: smaller))
    async with asyncio.timeout(5):
        while len(publisher.texts) < 3:  # noqa: ASYNC110 - what is waited for is the window's own timer
            await asyncio.sleep(0)
    assert publisher.texts == ["0/0/large", "0/0/smaller", "0/1/reply"]
    await acknowledge(publisher)
    assert (window.positions(), window.running) == ({P0: 2}, 0)


async def test_settling_waits_for_acknowledgements(window: Window, publisher: FakePublisher) -> None:
    slot, other = admit(window, a_record(0)), admit(window, a_record(7, partition=1))
    settling = asyncio.create_task(window.settle([P0], 5_000))
    answer(window, slot)
    await asyncio.sleep(0)
    assert not settling.done()
    await acknowledge(publisher)
    assert await settling
    assert not await window.settle(None, 1), "the other partition is not finished"
    assert not other.slot.done


async def test_settling_does_not_wait_for_forgotten_partitions(window: Window) -> None:
    admit(window, a_record(0))
    settling = asyncio.create_task(window.settle(None, 60_000))
    await asyncio.sleep(0)
    window.forget([P0])
    assert await asyncio.wait_for(settling, 5)


async def test_forgetting_cancels_what_runs(window: Window, publisher: FakePublisher) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    forgotten, kept = admit(window, a_record(0)), admit(window, a_record(0, partition=1))
    tasks = forgotten.slot.task, kept.slot.task = asyncio.create_task(never()), asyncio.create_task(never())
    await asyncio.sleep(0)
    window.forget([P0])
    await asyncio.wait(tasks[:1])
    assert tasks[0].cancelled()
    assert not tasks[1].done()
    answer(window, forgotten)
    assert publisher.published == []
    assert window.running == 1
    tasks[1].cancel()


async def test_a_full_window_reports_when_there_is_room_again(
    window: Window, publisher: FakePublisher
) -> None:
    slots = [admit(window, a_record(n)) for n in range(BOUNDS.max_in_flight)]
    assert window.room == 0
    waiting = asyncio.create_task(window.changed(60_000))
    answer(window, slots[-1])
    await acknowledge(publisher)
    await asyncio.wait_for(waiting, 5)
    assert window.room == 1


async def test_a_span_counts_from_the_oldest_unfinished(window: Window, publisher: FakePublisher) -> None:
    slots = [admit(window, a_record(n)) for n in range(BOUNDS.max_span)]
    assert window.full_partitions() == {P0}
    for slot in slots[1:]:
        answer(window, slot)
    await acknowledge(publisher)
    assert (window.positions(), window.full_partitions()) == ({}, {P0})
    answer(window, slots[0])
    await acknowledge(publisher)
    assert (window.positions(), window.full_partitions()) == ({P0: BOUNDS.max_span}, set())


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    """Whether the task still waits after a few turns of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_a_change_is_waited_for_and_one_of_before_does_not_count(
    window: Window, publisher: FakePublisher
) -> None:
    """Otherwise the worker would ask without pause."""
    answer(window, admit(window, a_record(0)))
    await acknowledge(publisher)
    slot = admit(window, a_record(1))
    for change in (lambda: answer(window, slot), publisher.acknowledge_all, lambda: window.forget([P0])):
        waiting = asyncio.create_task(window.changed(60_000))
        assert await is_waiting(waiting)
        change()
        await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(window.changed(1), 5)


async def test_room_is_waited_for_until_there_is_as_much_as_wanted(window: Window) -> None:
    slots = [admit(window, a_record(n)) for n in range(BOUNDS.max_in_flight)]
    waiting = asyncio.create_task(window.has_room(2, 60_000))
    for slot in slots[:2]:
        assert await is_waiting(waiting)
        answer(window, slot)
    assert not await is_waiting(waiting)
    await asyncio.wait_for(window.has_room(2, 60_000), 5)
    await asyncio.wait_for(window.has_room(3, 1), 5)
    assert window.room == 2


async def test_settling_ends_at_its_time_if_something_is_unfinished(
    window: Window, publisher: FakePublisher
) -> None:
    assert await asyncio.wait_for(window.settle(None, 0), 5), "nothing is there"
    admit(window, a_record(0))
    finished = admit(window, a_record(0, partition=1))
    answer(window, finished)
    await acknowledge(publisher)
    for partitions, settled in (([P1], True), ([], True), ([P0], False), ([P0, P1], False), (None, False)):
        assert await asyncio.wait_for(window.settle(partitions, 20), 5) is settled


async def test_what_is_finished_in_the_last_millisecond_is_settled(
    window: Window, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 0.0)  # time stands still
    answer(window, admit(window, a_record(0)))
    settling = asyncio.create_task(window.settle(None, 1))
    assert await is_waiting(settling)
    await acknowledge(publisher)
    assert await settling


async def test_a_publish_that_is_cancelled_is_no_answer_and_no_error(
    window: Window, publisher: FakePublisher
) -> None:
    """The broker is being closed: the next worker answers."""
    watching = asyncio.create_task(window.watch())
    answer(window, admit(window, a_record(0)))
    publisher.open[0][1].cancel()
    assert await is_waiting(watching)
    assert (window.positions(), window.terminal_events) == ({}, 0)
    watching.cancel()


@pytest.mark.parametrize("refused", [None, ReplyTooLarge("too large"), NotWritable("gone")])
async def test_a_reply_that_is_no_error_for_good_holds_back_no_later_one_of_its_key(
    window: Window, publisher: FakePublisher, refused: Exception | None
) -> None:
    """It was cancelled, or is refused and replaced; the loop has not told the window yet."""
    watching = asyncio.create_task(window.watch())
    first, second = admit(window, a_record(0, b"k")), admit(window, a_record(1, b"k"))
    instead = Outcome((a_message(first.record, "instead"),))
    outcome = Outcome((a_message(first.record),), lambda: instead, if_not_writable=lambda _: instead)
    window.complete(first.slot, outcome)
    (_, acknowledgement) = publisher.open[0]
    if refused is None:
        acknowledgement.cancel()
    else:
        acknowledgement.set_exception(refused)
    answer(window, second)
    await acknowledge(publisher)
    await acknowledge(publisher)
    assert "0/1/reply" in publisher.texts
    assert window.positions() == ({} if refused is None else {P0: 2})
    assert await is_waiting(watching)
    watching.cancel()


async def test_all_messages_are_published_also_if_each_is_durable_at_once(publisher: FakePublisher) -> None:
    def at_once(message: Message) -> "asyncio.Future[None]":
        future = publisher(message)
        future.set_result(None)
        return future

    window = Window(BOUNDS, at_once)
    slot, record = admit(window, a_record(0))
    window.complete(slot, Outcome((a_message(record, "one"), a_message(record, "two"))))
    assert publisher.texts == ["0/0/one", "0/0/two"]
    assert (window.positions(), window.terminal_events) == ({P0: 1}, 1)


async def test_an_acknowledgement_after_an_error_does_not_finish_what_failed(
    window: Window, publisher: FakePublisher
) -> None:
    slot, record = admit(window, a_record(0))
    window.complete(slot, Outcome((a_message(record, "one"), a_message(record, "two"))))
    (_, one), (_, two) = publisher.open
    one.set_exception(BrokerError("refused"))
    two.set_result(None)
    with pytest.raises(BrokerError, match="refused"):
        await asyncio.wait_for(window.watch(), 5)
    assert (window.positions(), window.terminal_events) == ({}, 0)


async def test_a_reply_that_lingers_is_not_published_once_its_partition_is_forgotten(
    publisher: FakePublisher,
) -> None:
    window = Window(BOUNDS, publisher, lambda: True)
    forgotten, kept = admit(window, a_record(0)), admit(window, a_record(0, partition=1))
    for admitted in (forgotten, kept):
        answer(window, admitted)
    assert publisher.texts == []
    window.forget([P0])
    async with asyncio.timeout(5):
        while not publisher.texts:  # noqa: ASYNC110 - what is waited for is the window's own timer
            await asyncio.sleep(0)
    assert publisher.texts == ["1/0/reply"]


async def test_a_reply_that_was_replaced_by_a_smaller_one_is_no_error(
    window: Window, publisher: FakePublisher
) -> None:
    watching = asyncio.create_task(window.watch())
    slot, record = admit(window, a_record(0))
    window.complete(slot, Outcome((a_message(record),), lambda: Outcome((a_message(record, "smaller"),))))
    publisher.open[0][1].set_exception(ReplyTooLarge("too large"))
    assert await is_waiting(watching)
    await acknowledge(publisher)
    assert await is_waiting(watching)
    assert window.positions() == {P0: 1}
    watching.cancel()


async def test_partitions_that_nothing_was_read_of_are_forgotten_without_effect(window: Window) -> None:
    admit(window, a_record(0))
    window.forget([P1])
    assert window.running == 1
    window.forget([P1, P0, P0])
    assert (window.running, window.full_partitions()) == (0, set())


async def test_a_topic_made_anew_begins_a_new_window(window: Window, publisher: FakePublisher) -> None:
    """Its offsets begin again: nothing of the old one is committed, and the span is that of the new one."""
    old = admit(window, a_record(1_000))
    window.read_to({P0: 1_001})
    new = admit(window, a_record(0))
    window.read_to({P0: 1})
    assert window.full_partitions() == set()
    answer(window, old)
    await acknowledge(publisher)
    assert window.positions() == {}
    answer(window, new)
    await acknowledge(publisher)
    assert (window.positions(), window.running) == ({P0: 1}, 0)


async def test_what_was_read_and_is_never_returned_is_committed(
    window: Window, publisher: FakePublisher
) -> None:
    """Control records, aborted records, and partitions in which there is nothing."""
    window.read_to({P0: 0, P1: 7})
    assert window.positions() == {P0: 0, P1: 7}
    one = admit(window, a_record(0))
    window.read_to({P0: 4, P1: 7})
    assert window.positions() == {}, "offset 0 is not finished"
    answer(window, one)
    await acknowledge(publisher)
    assert window.positions() == {P0: 4}
    window.forget([P0])
    window.read_to({P0: 9, P1: 7})
    assert window.positions() == {}, "another worker owns P0"
    window.begin([P0])
    window.read_to({P0: 9, P1: 7})
    assert window.positions() == {P0: 9}


async def test_a_reply_that_cannot_be_written_is_replaced_and_ends_no_worker(
    window: Window, publisher: FakePublisher
) -> None:
    watching = asyncio.create_task(window.watch())
    (first, record), (second, later) = (admit(window, a_record(offset, b"k")) for offset in (0, 1))
    letter = Outcome((a_message(record, "letter"),))
    window.complete(first, Outcome((a_message(record),), if_not_writable=lambda _: letter))
    window.complete(second, Outcome((a_message(later),)))
    publisher.open[0][1].set_exception(NotWritable("The topic is gone."))
    await acknowledge(publisher)
    await acknowledge(publisher)
    assert publisher.texts == ["0/0/reply", "0/1/reply", "0/0/letter"]
    assert window.positions() == {P0: 2}
    assert await is_waiting(watching)
    watching.cancel()


async def test_a_dead_letter_follows_a_failure_that_cannot_be_written(
    window: Window, publisher: FakePublisher
) -> None:
    slot, record = admit(window, a_record(0))
    cause = Outcome((a_message(record, "letter with the cause"),))
    other = Outcome((a_message(record, "another letter"),))
    window.complete(slot, Outcome((a_message(record),), then=cause, if_not_writable=lambda _: other))
    publisher.open[0][1].set_exception(NotWritable("The topic is gone."))
    await acknowledge(publisher)
    await acknowledge(publisher)
    assert publisher.texts == ["0/0/reply", "0/0/letter with the cause"]
    assert window.positions() == {P0: 1}


async def test_the_window_is_full_at_its_bytes_until_the_answers_are_durable(
    publisher: FakePublisher,
) -> None:
    window = Window(WindowConfig(max_in_flight=100, max_bytes=1_000), publisher)
    large = Record(TOPIC, 0, 0, b"k" * 100, b"v" * 300, (("n" * 50, b"h" * 150),), 0)
    first = Admitted(window.admit(large), large)
    assert (window.bytes, window.room, window.room_bytes) == (600, 99, 400)
    second = Admitted(window.admit(large._replace(offset=1)), large._replace(offset=1))
    assert (window.bytes, window.room, window.room_bytes) == (1_200, 0, 0)
    waiting = asyncio.create_task(window.has_room(1, 60_000))
    answer(window, second)
    answer(window, first)
    await asyncio.sleep(0)
    assert not waiting.done(), "a dead letter would hold the record until it is durable"
    await acknowledge(publisher)
    await asyncio.wait_for(waiting, 5)
    assert (window.bytes, window.room) == (0, 100)


async def test_finished_records_behind_an_unfinished_one_hold_no_keys(
    window: Window, publisher: FakePublisher
) -> None:
    admit(window, a_record(0))
    finished = [admit(window, a_record(number, b"k" * 1_000)) for number in range(1, 5)]
    for one in finished:
        answer(window, one)
    await acknowledge(publisher)
    assert [(one.slot.done, one.slot.key) for one in finished] == [(True, None)] * 4
    assert window.bytes == 2


async def test_forgotten_partitions_give_their_bytes_back(window: Window, publisher: FakePublisher) -> None:
    answered, running = admit(window, a_record(0)), admit(window, a_record(1))
    done = admit(window, a_record(2))
    for one in (done, answered):
        answer(window, one)
    publisher.open[0][1].set_result(None)
    await asyncio.sleep(0)
    window.forget([P0])
    answer(window, running)
    await acknowledge(publisher)
    assert window.bytes == 0


async def test_an_earlier_acknowledgement_does_not_hide_that_a_later_reply_of_the_key_has_failed(
    window: Window, publisher: FakePublisher
) -> None:
    first, second, third = (admit(window, a_record(offset, b"k")) for offset in range(3))
    answer(window, first)
    answer(window, second)
    (_, one), (_, two) = publisher.open
    one.set_result(None)
    await asyncio.sleep(0)
    two.set_exception(BrokerError("refused"))
    answer(window, third)  # before the loop has told the window of the error
    assert publisher.texts == ["0/0/reply", "0/1/reply"]
    with pytest.raises(BrokerError, match="refused"):
        await asyncio.wait_for(window.watch(), 5)


class Parts:
    """The source of a slot's chunks: each `know` adds one that is known and not told."""

    def __init__(self, admitted: Admitted) -> None:
        self.slot, self._record = admitted
        self.slot.chunks = self._next
        self._known = 0
        self._told = 0

    def know(self, parts: int = 1) -> None:
        self._known += parts
        self.slot.say()

    def _next(self) -> Message | None:
        if self._told == self._known:
            return None
        self._told += 1
        return a_message(self._record, f"part {self._told}")


async def test_records_whose_order_does_not_matter_are_not_held_behind_one_another(
    window: Window, publisher: FakePublisher
) -> None:
    ordered, first, second, last = (
        admit(window, a_record(offset, b"k", headers=headers))
        for offset, headers in enumerate([(), ANY, ANY, ()])
    )
    for one in (last, second, first):
        answer(window, one)
    assert publisher.texts == ["0/2/reply", "0/1/reply"]
    answer(window, ordered)
    assert publisher.texts[2:] == ["0/0/reply", "0/3/reply"]
    await acknowledge(publisher)
    assert window.positions() == {P0: 4}


HEADER = st.tuples(
    st.sampled_from([Header.ORDER, Header.ORDER, Header.TENANT]),
    st.sampled_from([b"any", b"", b"Any", b"strict"]),
)


@given(st.lists(HEADER, max_size=4).map(tuple), st.sampled_from([None, b"k"]))
def test_window_handler_and_auditor_agree_whose_order_matters(headers: Headers, key: bytes | None) -> None:
    """Also where the header is there twice, or empty."""
    record = a_record(0, key, headers=headers)
    handled = Arrival(record, header_map(record), "replies").keeps_order
    assert handled == (key is not None and order_matters(headers))
    topics = Topics("t")
    fact = Audited(topics).fact(record._replace(topic=topics.requests))
    assert isinstance(fact, RequestFact)
    assert handled == (fact.key is not None)


async def let_go(publisher: FakePublisher, count: int) -> None:
    """Wait until so much is published under load."""
    async with asyncio.timeout(5):
        while len(publisher.texts) < count:  # noqa: ASYNC110 - what is waited for is the window's own timer
            await asyncio.sleep(0)


@pytest.mark.parametrize("admitted", ["before the end", "while the end lingers"])
async def test_parts_wait_until_the_end_of_the_earlier_record_is_published(
    publisher: FakePublisher, admitted: str
) -> None:
    """It lingers under load: parts that went out at once would overtake it."""
    window = Window(BOUNDS, publisher, lambda: True)
    first = admit(window, a_record(0, b"k"))
    early = [admit(window, a_record(1, b"k"))] if admitted == "before the end" else []
    answer(window, first)
    (second,) = early or [admit(window, a_record(1, b"k"))]
    other = Parts(admit(window, a_record(2, b"other")))
    parts = Parts(second)
    parts.know(2)
    other.know()
    assert publisher.texts == ["0/2/part 1"]
    await let_go(publisher, 3)
    assert publisher.texts[1:] == ["0/0/reply", "0/1/part 1"]
    await acknowledge(publisher)
    assert publisher.texts[3:] == ["0/1/part 2"]
    answer(window, second)
    await let_go(publisher, 5)
    assert publisher.texts[4:] == ["0/1/reply"]
    assert window._queues[P0].last_of_key == {b"other": other.slot}


async def test_of_many_parts_one_is_on_its_way(window: Window, publisher: FakePublisher) -> None:
    admitted = admit(window, a_record(0, b"k"))
    parts = Parts(admitted)
    parts.know(3)
    parts.know()
    assert publisher.texts == ["0/0/part 1"]
    await acknowledge(publisher)
    assert publisher.texts == ["0/0/part 1", "0/0/part 2"]
    answer(window, admitted)
    assert publisher.texts[2:] == ["0/0/reply"]
    await acknowledge(publisher)
    parts.know()
    assert len(publisher.texts) == 3
    assert (window.positions(), window.terminal_events) == ({P0: 1}, 1)
    queue = window._queues[P0]
    assert (queue.unacknowledged_of_key, queue.last_of_key) == ({}, {})


async def test_nothing_is_committed_before_the_end(window: Window, publisher: FakePublisher) -> None:
    Parts(admit(window, a_record(0))).know()
    await acknowledge(publisher)
    assert (window.positions(), window.terminal_events, window.running) == ({}, 0, 1)


@pytest.mark.parametrize("turn_first", [False, True], ids=["the same turn", "a later turn"])
async def test_after_a_part_has_failed_for_good_nothing_is_published(
    window: Window, publisher: FakePublisher, turn_first: bool
) -> None:
    """The next owner of the partition makes the parts again, and the outcome."""
    admitted = admit(window, a_record(0, b"k"))
    Parts(admitted).know(2)
    publisher.open[0][1].set_exception(BrokerError("the broker is gone"))
    if turn_first:
        await asyncio.sleep(0)
    answer(window, admitted)
    with pytest.raises(BrokerError, match="the broker is gone"):
        await asyncio.wait_for(window.watch(), 5)
    assert publisher.texts == ["0/0/part 1"]


async def test_parts_that_are_refused_at_once_are_left_out(publisher: FakePublisher) -> None:
    def refuse_parts(message: Message) -> "asyncio.Future[None]":
        future = publisher(message)
        if b"part" in message.value:
            future.set_exception(ReplyTooLarge("too large"))
        return future

    window = Window(BOUNDS, refuse_parts)
    admitted = admit(window, a_record(0, b"k"))
    Parts(admitted).know(3)
    assert publisher.texts == ["0/0/part 1"]
    answer(window, admitted)
    await acknowledge(publisher)
    assert (publisher.texts[1:], window.positions()) == (["0/0/reply"], {P0: 1})


async def test_ten_thousand_parts_that_are_durable_at_once_are_told(publisher: FakePublisher) -> None:
    def store(message: Message) -> "asyncio.Future[None]":
        future = publisher(message)
        future.set_result(None)
        return future

    window = Window(BOUNDS, store)
    Parts(admit(window, a_record(0, b"k"))).know(10_000)
    assert len(publisher.texts) == 10_000


async def test_a_part_that_is_cancelled_is_the_last(window: Window, publisher: FakePublisher) -> None:
    """The broker is being closed."""
    watching = asyncio.create_task(window.watch())
    Parts(admit(window, a_record(0, b"k"))).know(2)
    publisher.open[0][1].cancel()
    assert await is_waiting(watching)
    assert len(publisher.texts) == 1
    watching.cancel()


FORGETTABLE: dict[str, Callable[[FakePublisher], None]] = {
    "durable": FakePublisher.acknowledge_all,
    "failed": lambda publisher: publisher.open[0][1].set_exception(BrokerError("gone")),
}


@pytest.mark.parametrize("end", FORGETTABLE)
async def test_a_forgotten_partition_tells_nothing(
    window: Window, publisher: FakePublisher, end: str
) -> None:
    watching = asyncio.create_task(window.watch())
    parts = Parts(admit(window, a_record(0, b"k")))
    parts.know(2)
    window.forget([P0])
    FORGETTABLE[end](publisher)
    assert await is_waiting(watching)
    parts.know()
    assert publisher.texts == ["0/0/part 1"]
    watching.cancel()


@pytest.mark.parametrize("error", [ReplyTooLarge, NotWritable])
async def test_a_part_that_was_refused_just_now_does_not_hold_back_the_end(
    window: Window, publisher: FakePublisher, error: type[Exception]
) -> None:
    """The end comes before the loop has told the window of the refusal."""
    watching = asyncio.create_task(window.watch())
    admitted = admit(window, a_record(0, b"k"))
    Parts(admitted).know(2)
    publisher.open[0][1].set_exception(error("refused"))
    answer(window, admitted)
    await acknowledge(publisher)
    assert publisher.texts == ["0/0/part 1", "0/0/reply"]
    assert await is_waiting(watching)
    assert window.positions() == {P0: 1}
    watching.cancel()
