"""Dead letters as operators handle them: looked at, chosen, replayed byte for byte, put aside; on both brokers."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Broker, Headers, Message, Record, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.cli.commands.dead_letters import command
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.delivery.dead_letters import dead_letter
from inferstream.pipeline.errors import (
    BrokerError,
    DeviceError,
    DeviceUnavailable,
    InferstreamError,
    UsageError,
)
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.dead_letters.handling import AHEAD, Desk, replay_of
from inferstream.pipeline.ops.dead_letters.letter import Place, Selection, letter_of, place_named
from inferstream.pipeline.ops.dead_letters.marks import mark
from inferstream.pipeline.ops.dead_letters.reading import SILENCE_MS, listing, one
from inferstream.pipeline.ops.scan import Scan
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Header, Topics

FAILED_S = 1_700_000_000.0
ALL = Selection()
BODY = b'{"text": "a  text", "id": "t1", "new-field": 1}'
HEADERS: Headers = (
    ("reply-topic", b"desk"),
    ("tenant", b"acme"),
    ("order", b"any"),
    ("deadline-ms", b"5"),
    ("foreign", b"\xff\x00"),
)


def nothing(done: int, total: int) -> None: ...


def a_request(topics: Topics, body: bytes = BODY, offset: int = 7, **more: Any) -> Record:
    return Record(
        topics.requests,
        1,
        offset,
        **{"key": b"k\xff", "headers": HEADERS, **more},
        value=body,
        timestamp_ms=1,
    )


class Office:
    """A task's topics with what workers leave in the dead letters."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self.broker, self.topics = broker, topics
        self.marks = TopicSpec(topics.dead_letters_handled, 1)
        self.desk = Desk(broker, topics, self.marks, lambda: FAILED_S + 100)

    async def open(self) -> None:
        names = (self.topics.requests, self.topics.replies, self.topics.dead_letters)
        await self.broker.ensure_topics([TopicSpec(name, 2) for name in names])

    async def bury(
        self, record: Record, error: InferstreamError | None = None, failed_at: float = FAILED_S
    ) -> None:
        error = error or DeviceError("The device is gone: wait.")
        outcome = dead_letter(
            record, self.topics.dead_letters, error, failed_at, worker="w1/9", version="abc"
        )
        await self.broker.publish(outcome.messages[0]._replace(partition=0))

    async def letters(self, selection: Selection = ALL, **how: Any) -> list[str]:
        """The ids of those that wait, in order."""
        found = await listing(self.broker, self.topics, selection, **{"limit": 1_000, **how})
        return [letter.id for letter in found.letters]

    async def requests(self) -> list[Record]:
        async with Scan.open(self.broker, [self.topics.requests]) as scan:
            return [record async for records in scan.batches() for record in records]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def office(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> AsyncIterator[Office]:
    broker: Broker
    if request.param == "kafka":
        broker = KafkaBroker(KafkaConfig(bootstrap=request.getfixturevalue("kafka")))
    else:
        broker = EmbeddedBroker(tmp_path)
    async with broker:
        opened = Office(broker, Topics("triage", unique))
        await opened.open()
        yield opened


@pytest.fixture
async def local(unique: str, tmp_path: Path) -> AsyncIterator[Office]:
    """On the embedded broker alone."""
    async with EmbeddedBroker(tmp_path) as broker:
        opened = Office(broker, Topics("triage", unique))
        await opened.open()
        yield opened


async def test_a_letter_tells_all_that_is_known(office: Office) -> None:
    history = msgspec.json.encode([[1, "device_unavailable", 5, "w0"]])
    tried = ((Header.ATTEMPT, b"2"), (Header.HISTORY, history), (Header.ORIGIN, b"x.requests/1/3"))
    await office.bury(a_request(office.topics, headers=(*HEADERS, *tried)))
    record, letter = await one(office.broker, office.topics, Place(0, 0))
    assert (record.value, record.key) == (BODY, b"k\xff")
    assert record.headers[: len(HEADERS)] == HEADERS
    assert (letter.id, letter.key, letter.tenant, letter.code) == ("t1", "k\ufffd", "acme", "device_error")
    assert (letter.attempts, letter.worker, letter.version) == (2, "w1/9", "abc")
    assert (letter.origin, letter.message) == ("x.requests/1/3", "The device is gone: wait.")
    assert letter.history == [[1, "device_unavailable", 5, "w0"]]
    assert (letter.failed_at_ms, letter.bytes, letter.handled) == (round(FAILED_S * 1e3), len(BODY), None)


async def test_a_replay_is_the_identical_request_and_leaves_a_mark(office: Office) -> None:
    tried = ((Header.ATTEMPT, b"3"), (Header.HISTORY, b"[]"), (Header.NOT_BEFORE_MS, b"9"))
    await office.bury(a_request(office.topics, headers=(*HEADERS, *tried)))
    foreseen = await office.desk.foresee("replayed", ALL, progress=nothing)
    assert foreseen.codes == {"device_error": 1}
    assert await office.requests() == []
    assert await office.letters() == ["t1"]
    assert (await office.desk.handle("replayed", ALL, progress=nothing)).codes == {"device_error": 1}
    (replayed,) = await office.requests()
    assert (replayed.value, replayed.key, replayed.partition) == (BODY, b"k\xff", 1)
    kept = tuple(header for header in HEADERS if header[0] != "deadline-ms")
    assert replayed.headers == (*kept, (Header.ORIGIN, f"{office.topics.requests}/1/7".encode()))
    assert await office.letters() == []
    assert await office.letters(handled=True) == ["t1"]
    assert (await one(office.broker, office.topics, Place(0, 0)))[1].handled == "replayed"
    assert (await office.desk.handle("replayed", ALL, progress=nothing)).codes == {}
    assert len(await office.requests()) == 1


async def test_a_purge_puts_aside_and_replays_nothing(office: Office) -> None:
    for identity in ("a", "b"):
        await office.bury(a_request(office.topics, encode(Request("x", id=identity))))
    purged = await office.desk.handle("purged", Selection(id="a"), progress=nothing)
    assert purged.codes == {"device_error": 1}
    assert await office.letters() == ["b"]
    await office.desk.handle("replayed", ALL, progress=nothing)
    assert [record.value for record in await office.requests()] == [encode(Request("x", id="b"))]


@pytest.mark.parametrize(("later_ms", "waiting"), [(-1_000, []), (30_000, []), (61_000, ["t1"])])
async def test_a_mark_from_before_the_topic_was_made_anew_hides_no_letter(
    tmp_path: Path, unique: str, later_ms: int, waiting: list[str]
) -> None:
    now_ms = round(FAILED_S * 1e3)
    async with EmbeddedBroker(tmp_path, clock_ms=lambda: now_ms) as broker:
        office = Office(broker, Topics("triage", unique))
        await office.open()
        await broker.ensure_topics([office.marks])
        place = Record(office.topics.dead_letters, 0, 0, None, None, (), 0)
        await broker.publish(mark(place, office.topics, "replayed", lambda: FAILED_S))
        now_ms += later_ms
        await office.bury(a_request(office.topics))
        assert await office.letters() == waiting


class Breaking(EmbeddedBroker):
    """Takes so many records, then fails."""

    left = 0

    def publish(self, message: Message) -> asyncio.Future[None]:
        self.left -= 1
        if self.left < 0:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(BrokerError("The disk is full: free some space."))
            return failed
        return super().publish(message)


@pytest.mark.parametrize("after", [10, AHEAD + 10, 2 * AHEAD, 2 * AHEAD + 1, 2 * AHEAD + 60])
async def test_an_interrupted_replay_is_repeated_without_a_loss(
    tmp_path: Path, unique: str, after: int
) -> None:
    topics, count = Topics("triage", unique), AHEAD + 50
    async with Breaking(tmp_path) as broker:
        office, broker.left = Office(broker, topics), 10_000
        await office.open()
        await asyncio.gather(*(office.bury(a_request(topics, b'{"text":"%d"}' % n, n)) for n in range(count)))
        broker.left = after
        with pytest.raises(BrokerError, match="disk is full"):
            await office.desk.handle("replayed", ALL, progress=nothing)
        broker.left = 10_000
        await office.desk.handle("replayed", ALL, progress=nothing)
        assert await office.letters() == []
        replayed = Counter(record.value for record in await office.requests())
    assert len(replayed) == count
    assert sum(replayed.values()) <= count + AHEAD


async def test_the_auditor_sees_a_replay_as_the_same_request(local: Office) -> None:
    await local.broker.publish(Message(local.topics.requests, BODY, partition=1))
    await local.broker.publish(
        Message(local.topics.replies, encode(Failure("t1", "triage", "device_error", "x")))
    )
    await local.bury(a_request(local.topics, offset=0))
    await local.desk.handle("replayed", ALL, progress=nothing)
    await local.broker.publish(
        Message(local.topics.replies, encode(Result("t1", "triage", "m", "1", msgspec.Raw(b"1"))))
    )
    report = await audit(local.broker, Audited(local.topics), clock=lambda: FAILED_S)
    assert (report.requests, report.replayed, report.kept, report.duplicated) == (1, 1, 1, 0)
    assert not report.lost


async def test_a_letter_without_its_body_is_not_replayed(local: Office) -> None:
    outcome = dead_letter(a_request(local.topics), local.topics.dead_letters, DeviceError("x"), FAILED_S)
    assert outcome.if_too_large
    await local.broker.publish(outcome.if_too_large().messages[0])
    handled = await local.desk.handle("replayed", ALL, progress=nothing)
    assert (handled.left_out, handled.codes) == (1, {})
    assert await local.requests() == []
    place = f"{local.topics.requests}/1/7"
    found = await listing(local.broker, local.topics, ALL, limit=5)
    assert [(letter.left_out, letter.id, letter.origin) for letter in found.letters] == [
        (len(BODY), place, place)
    ]


async def test_what_a_request_brought_is_not_told_as_ours(local: Office) -> None:
    names = (Header.ERROR_CODE, Header.WORKER, Header.VERSION, Header.LEFT_OUT)
    record = a_request(local.topics, headers=tuple((name, b"5") for name in names))
    outcome = dead_letter(record, local.topics.dead_letters, DeviceError("x"), FAILED_S)
    await local.broker.publish(outcome.messages[0]._replace(partition=0))
    _, letter = await one(local.broker, local.topics, Place(0, 0))
    assert (letter.code, letter.worker, letter.version, letter.left_out) == ("device_error", None, None, None)
    handled = await local.desk.handle("replayed", ALL, progress=nothing)
    assert (handled.left_out, handled.codes) == (0, {"device_error": 1})


async def test_a_letter_too_large_for_the_request_topic_does_not_stop_the_others(
    tmp_path: Path, unique: str
) -> None:
    class Small(EmbeddedBroker):
        def publish(self, message: Message) -> asyncio.Future[None]:
            if message.topic.endswith("requests") and len(message.value) > 100:
                message = message._replace(value=b"x" * 2_000_000)
            return super().publish(message)

    async with Small(tmp_path) as broker:
        office = Office(broker, Topics("triage", unique))
        await office.open()
        await office.bury(a_request(office.topics, encode(Request("x" * 200, id="large"))))
        await office.bury(a_request(office.topics))
        handled = await office.desk.handle("replayed", ALL, progress=nothing)
        assert (handled.refused, handled.codes) == (1, {"device_error": 1})
        assert await office.letters() == ["large"]


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(codes=["device_unavailable"]), ["b"]),
        (Selection(codes=["device_unavailable", "device_error"]), ["a", "b", "c"]),
        (Selection(since_ms=round(FAILED_S * 1e3) + 1_000), ["b", "c"]),
        (Selection(until_ms=round(FAILED_S * 1e3) + 1_000), ["a"]),
        (Selection(key="customer"), ["b"]),
        (Selection(tenant="globex"), ["c"]),
        (Selection(id="a"), ["a"]),
        (Selection(places=[Place(0, 1), Place(1, 0)]), ["b"]),
        (Selection(id="a", tenant="globex"), []),
    ],
)
async def test_letters_are_chosen(local: Office, selection: Selection, ids: list[str]) -> None:
    made = {"a": {}, "b": {"key": b"customer"}, "c": {"headers": (("tenant", b"globex"),)}}
    for second, (identity, more) in enumerate(made.items()):
        error = DeviceUnavailable("wait.") if identity == "b" else None
        body = encode(Request("x", id=identity))
        await local.bury(a_request(local.topics, body, **more), error, FAILED_S + second)
    assert await local.letters(selection) == ids


async def test_a_listing_holds_the_newest_and_counts_all(local: Office) -> None:
    for second in (3, 1, 2):
        await local.bury(
            a_request(local.topics, encode(Request("x", id=f"{second}"))), None, FAILED_S + second
        )
    found = await listing(local.broker, local.topics, ALL, limit=2)
    assert [letter.id for letter in found.letters] == ["2", "3"]
    assert found.codes == {"device_error": 3}


async def test_so_many_as_asked_for_are_replayed(local: Office) -> None:
    for identity in ("a", "b", "c"):
        await local.bury(a_request(local.topics, encode(Request("x", id=identity))))
    await local.desk.handle("replayed", ALL, limit=2, progress=nothing)
    assert await local.letters() == ["c"]


async def test_a_letter_that_is_not_there_is_told(local: Office) -> None:
    await local.bury(a_request(local.topics))
    for place in (Place(0, 1), Place(9, 0)):
        with pytest.raises(UsageError, match=f"There is no dead letter {place}"):
            await one(local.broker, local.topics, place)
    with pytest.raises(UsageError, match=r"There is no topic other\.triage\.dead-letters"):
        await listing(local.broker, Topics("triage", "other"), ALL, limit=1)


async def test_a_letter_that_retention_deleted_is_not_waited_for(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        topics = Topics("triage")
        await broker.ensure_topics([TopicSpec(topics.dead_letters, 1)])
        await broker.publish(Message(topics.dead_letters, b"{}"))
        await broker.trim({TopicPartition(topics.dead_letters, 0): 1})
        async with asyncio.timeout(SILENCE_MS / 2e3):
            with pytest.raises(UsageError, match="is gone: its retention is over"):
                await one(broker, topics, Place(0, 0))


@pytest.mark.parametrize("name", ["", "7", "a/b", "1/", "1/2/3", "-1/2", "9" * 40 + "/1"])
def test_what_names_no_letter_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="names no dead letter"):
        place_named(name)


NAMES = ["origin", "error-code", "failed-at-ms", "attempt", "history", "left-out", "tenant", "worker", "key"]


@given(st.binary(), st.lists(st.tuples(st.sampled_from(NAMES), st.binary())))
def test_whatever_a_letter_holds_it_is_shown_and_replayed(
    body: bytes, headers: list[tuple[str, bytes]]
) -> None:
    topics = Topics("triage")
    record = Record(topics.dead_letters, 0, 1, None, body, tuple(headers), 5)
    msgspec.json.encode(letter_of(record))
    assert replay_of(record, topics, 4).value == body


class Cli:
    """The commands over a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, name: str, *arguments: str) -> tuple[str, str]:
        """What it printed, and what it said beside."""
        command.main(["triage", name, "--embedded", str(self.folder), *arguments], standalone_mode=False)
        return tuple(self._capsys.readouterr())  # type: ignore[return-value]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    async def fill() -> None:
        async with EmbeddedBroker(tmp_path) as broker:
            office = Office(broker, Topics("triage"))
            await office.open()
            await office.bury(a_request(office.topics))
            await office.bury(a_request(office.topics, b"\x1b[2J\xff"), DeviceUnavailable("wait."))

    asyncio.run(fill())
    return Cli(tmp_path, capsys)


def test_list_shows_what_waits(cli: Cli) -> None:
    out, beside = cli("list")
    assert [line.split()[0] for line in out.splitlines()] == ["LETTER", "0/0", "0/1"]
    assert beside == "2 dead letters (1 device_error, 1 device_unavailable).\n"
    rows = json.loads(cli("list", "--json", "--code", "device_error")[0])
    assert [(row["letter"], row["id"], row["attempts"]) for row in rows] == [("0/0", "t1", 1)]
    assert "these are the newest 1" in cli("list", "--limit", "1")[1]


def test_show_tells_all_and_gives_the_body(cli: Cli) -> None:
    lines = cli("show", "0/0")[0].splitlines()
    assert {"code: device_error", "id: t1", "worker: w1/9", "version: abc", "  tenant: acme"} <= set(lines)
    assert lines[-1] == f"body: {BODY.decode()}"
    assert cli("show", "0/0", "--body")[0] == BODY.decode()
    whole = json.loads(cli("show", "0/1", "--json")[0])
    assert whole["body"] == {"base64": "G1sySv8="}


def test_replay_is_a_dry_run_until_it_gets_yes(cli: Cli) -> None:
    out, _ = cli("replay", "--code", "device_error")
    assert (
        out == "1 dead letter (1 device_error) would be replayed.\nNothing was changed: add --yes to do it.\n"
    )
    assert cli("replay", "0/0", "--yes")[0] == "1 dead letter (1 device_error) replayed.\n"
    assert cli("replay", "0/0", "--yes")[0] == "0 dead letters replayed.\n"
    assert json.loads(cli("purge", "--yes", "--json")[0])["codes"] == {"device_unavailable": 1}
    assert cli("list")[1] == "0 dead letters.\n"
    out, _ = cli("list", "--all")
    assert [line.split()[-1] for line in out.splitlines()] == ["HANDLED", "replayed", "purged"]
