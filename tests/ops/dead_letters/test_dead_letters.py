"""Dead letters for operators: listed, selected, replayed byte for byte, purged; on both brokers."""

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
from inferstream.pipeline.ops.dead_letters.handling import MAX_PENDING, LetterHandler, replay_of
from inferstream.pipeline.ops.dead_letters.letter import LetterPosition, Selection, letter_of, parse_position
from inferstream.pipeline.ops.dead_letters.marks import mark
from inferstream.pipeline.ops.dead_letters.reading import SILENCE_MS, letter_at, listing
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


class LetterRig:
    """A task's topics with dead letters as workers publish them."""

    def __init__(self, broker: Broker, topics: Topics) -> None:
        self.broker = broker
        self.topics = topics
        self.marks = TopicSpec(topics.dead_letters_handled, 1)
        self.handler = LetterHandler(broker, topics, self.marks, lambda: FAILED_S + 100)

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
        """The ids of the letters without a mark, in order."""
        found = await listing(self.broker, self.topics, selection, **{"limit": 1_000, **how})
        return [letter.id for letter in found.letters]

    async def requests(self) -> list[Record]:
        async with Scan.open(self.broker, [self.topics.requests]) as scan:
            return [record async for records in scan.batches() for record in records]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def rig(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> AsyncIterator[LetterRig]:
    broker: Broker
    if request.param == "kafka":
        broker = KafkaBroker(KafkaConfig(bootstrap=request.getfixturevalue("kafka")))
    else:
        broker = EmbeddedBroker(tmp_path)
    async with broker:
        opened = LetterRig(broker, Topics("triage", unique))
        await opened.open()
        yield opened


@pytest.fixture
async def local(unique: str, tmp_path: Path) -> AsyncIterator[LetterRig]:
    """On the embedded broker alone."""
    async with EmbeddedBroker(tmp_path) as broker:
        opened = LetterRig(broker, Topics("triage", unique))
        await opened.open()
        yield opened


async def test_a_letter_has_all_fields(rig: LetterRig) -> None:
    history = msgspec.json.encode([[1, "device_unavailable", 5, "w0"]])
    tried = ((Header.ATTEMPT, b"2"), (Header.HISTORY, history), (Header.ORIGIN, b"x.requests/1/3"))
    await rig.bury(a_request(rig.topics, headers=(*HEADERS, *tried)))
    record, letter = await letter_at(rig.broker, rig.topics, LetterPosition(0, 0))
    assert (record.value, record.key) == (BODY, b"k\xff")
    assert record.headers[: len(HEADERS)] == HEADERS
    assert (letter.id, letter.key, letter.tenant, letter.code) == ("t1", "k\ufffd", "acme", "device_error")
    assert (letter.attempts, letter.worker, letter.version) == (2, "w1/9", "abc")
    assert (letter.origin, letter.message) == ("x.requests/1/3", "The device is gone: wait.")
    assert letter.history == [[1, "device_unavailable", 5, "w0"]]
    assert (letter.failed_at_ms, letter.bytes, letter.handled) == (round(FAILED_S * 1e3), len(BODY), None)


async def test_a_replay_is_the_identical_request_and_leaves_a_mark(rig: LetterRig) -> None:
    tried = ((Header.ATTEMPT, b"3"), (Header.HISTORY, b"[]"), (Header.NOT_BEFORE_MS, b"9"))
    await rig.bury(a_request(rig.topics, headers=(*HEADERS, *tried)))
    preview = await rig.handler.preview("replayed", ALL, progress=nothing)
    assert preview.codes == {"device_error": 1}
    assert await rig.requests() == []
    assert await rig.letters() == ["t1"]
    assert (await rig.handler.handle("replayed", ALL, progress=nothing)).codes == {"device_error": 1}
    (replayed,) = await rig.requests()
    assert (replayed.value, replayed.key, replayed.partition) == (BODY, b"k\xff", 1)
    kept = tuple(header for header in HEADERS if header[0] != "deadline-ms")
    assert replayed.headers == (*kept, (Header.ORIGIN, f"{rig.topics.requests}/1/7".encode()))
    assert await rig.letters() == []
    assert await rig.letters(handled=True) == ["t1"]
    assert (await letter_at(rig.broker, rig.topics, LetterPosition(0, 0)))[1].handled == "replayed"
    assert (await rig.handler.handle("replayed", ALL, progress=nothing)).codes == {}
    assert len(await rig.requests()) == 1


async def test_a_purged_letter_is_not_replayed(rig: LetterRig) -> None:
    for identity in ("a", "b"):
        await rig.bury(a_request(rig.topics, encode(Request("x", id=identity))))
    purged = await rig.handler.handle("purged", Selection(id="a"), progress=nothing)
    assert purged.codes == {"device_error": 1}
    assert await rig.letters() == ["b"]
    await rig.handler.handle("replayed", ALL, progress=nothing)
    assert [record.value for record in await rig.requests()] == [encode(Request("x", id="b"))]


@pytest.mark.parametrize(("later_ms", "waiting"), [(-1_000, []), (30_000, []), (61_000, ["t1"])])
async def test_a_mark_from_before_the_topic_was_created_again_hides_no_letter(
    tmp_path: Path, unique: str, later_ms: int, waiting: list[str]
) -> None:
    now_ms = round(FAILED_S * 1e3)
    async with EmbeddedBroker(tmp_path, clock_ms=lambda: now_ms) as broker:
        rig = LetterRig(broker, Topics("triage", unique))
        await rig.open()
        await broker.ensure_topics([rig.marks])
        place = Record(rig.topics.dead_letters, 0, 0, None, None, (), 0)
        await broker.publish(mark(place, rig.topics, "replayed", lambda: FAILED_S))
        now_ms += later_ms
        await rig.bury(a_request(rig.topics))
        assert await rig.letters() == waiting


class Breaking(EmbeddedBroker):
    """Publishes ``left`` records, then fails."""

    left = 0

    def publish(self, message: Message) -> asyncio.Future[None]:
        self.left -= 1
        if self.left < 0:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(BrokerError("The disk is full: free some space."))
            return failed
        return super().publish(message)


@pytest.mark.parametrize(
    "after", [10, MAX_PENDING + 10, 2 * MAX_PENDING, 2 * MAX_PENDING + 1, 2 * MAX_PENDING + 60]
)
async def test_an_interrupted_replay_is_repeated_without_a_loss(
    tmp_path: Path, unique: str, after: int
) -> None:
    topics, count = Topics("triage", unique), MAX_PENDING + 50
    async with Breaking(tmp_path) as broker:
        rig, broker.left = LetterRig(broker, topics), 10_000
        await rig.open()
        await asyncio.gather(*(rig.bury(a_request(topics, b'{"text":"%d"}' % n, n)) for n in range(count)))
        broker.left = after
        with pytest.raises(BrokerError, match="disk is full"):
            await rig.handler.handle("replayed", ALL, progress=nothing)
        broker.left = 10_000
        await rig.handler.handle("replayed", ALL, progress=nothing)
        assert await rig.letters() == []
        replayed = Counter(record.value for record in await rig.requests())
    assert len(replayed) == count
    assert sum(replayed.values()) <= count + MAX_PENDING


async def test_the_auditor_sees_a_replay_as_the_same_request(local: LetterRig) -> None:
    await local.broker.publish(Message(local.topics.requests, BODY, partition=1))
    await local.broker.publish(
        Message(local.topics.replies, encode(Failure("t1", "triage", "device_error", "x")))
    )
    await local.bury(a_request(local.topics, offset=0))
    await local.handler.handle("replayed", ALL, progress=nothing)
    await local.broker.publish(
        Message(local.topics.replies, encode(Result("t1", "triage", "m", "1", msgspec.Raw(b"1"))))
    )
    report = await audit(local.broker, Audited(local.topics), clock=lambda: FAILED_S)
    assert (report.requests, report.replayed, report.kept, report.duplicated) == (1, 1, 1, 0)
    assert not report.lost


async def test_a_letter_without_its_body_is_not_replayed(local: LetterRig) -> None:
    outcome = dead_letter(a_request(local.topics), local.topics.dead_letters, DeviceError("x"), FAILED_S)
    assert outcome.if_too_large
    await local.broker.publish(outcome.if_too_large().messages[0])
    handled = await local.handler.handle("replayed", ALL, progress=nothing)
    assert (handled.left_out, handled.codes) == (1, {})
    assert await local.requests() == []
    place = f"{local.topics.requests}/1/7"
    found = await listing(local.broker, local.topics, ALL, limit=5)
    assert [(letter.left_out, letter.id, letter.origin) for letter in found.letters] == [
        (len(BODY), place, place)
    ]


async def test_headers_of_a_request_are_not_taken_for_those_of_the_worker(local: LetterRig) -> None:
    names = (Header.ERROR_CODE, Header.WORKER, Header.VERSION, Header.LEFT_OUT)
    record = a_request(local.topics, headers=tuple((name, b"5") for name in names))
    outcome = dead_letter(record, local.topics.dead_letters, DeviceError("x"), FAILED_S)
    await local.broker.publish(outcome.messages[0]._replace(partition=0))
    _, letter = await letter_at(local.broker, local.topics, LetterPosition(0, 0))
    assert (letter.code, letter.worker, letter.version, letter.left_out) == ("device_error", None, None, None)
    handled = await local.handler.handle("replayed", ALL, progress=nothing)
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
        rig = LetterRig(broker, Topics("triage", unique))
        await rig.open()
        await rig.bury(a_request(rig.topics, encode(Request("x" * 200, id="large"))))
        await rig.bury(a_request(rig.topics))
        handled = await rig.handler.handle("replayed", ALL, progress=nothing)
        assert (handled.refused, handled.codes) == (1, {"device_error": 1})
        assert await rig.letters() == ["large"]


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
        (Selection(positions=[LetterPosition(0, 1), LetterPosition(1, 0)]), ["b"]),
        (Selection(id="a", tenant="globex"), []),
    ],
)
async def test_a_selection_takes_the_letters_that_match(
    local: LetterRig, selection: Selection, ids: list[str]
) -> None:
    made = {"a": {}, "b": {"key": b"customer"}, "c": {"headers": (("tenant", b"globex"),)}}
    for second, (identity, more) in enumerate(made.items()):
        error = DeviceUnavailable("wait.") if identity == "b" else None
        body = encode(Request("x", id=identity))
        await local.bury(a_request(local.topics, body, **more), error, FAILED_S + second)
    assert await local.letters(selection) == ids


async def test_a_listing_holds_the_newest_and_counts_all(local: LetterRig) -> None:
    for second in (3, 1, 2):
        await local.bury(
            a_request(local.topics, encode(Request("x", id=f"{second}"))), None, FAILED_S + second
        )
    found = await listing(local.broker, local.topics, ALL, limit=2)
    assert [letter.id for letter in found.letters] == ["2", "3"]
    assert found.codes == {"device_error": 3}


async def test_at_most_limit_letters_are_replayed(local: LetterRig) -> None:
    for identity in ("a", "b", "c"):
        await local.bury(a_request(local.topics, encode(Request("x", id=identity))))
    await local.handler.handle("replayed", ALL, limit=2, progress=nothing)
    assert await local.letters() == ["c"]


async def test_a_missing_letter_is_an_error(local: LetterRig) -> None:
    await local.bury(a_request(local.topics))
    for place in (LetterPosition(0, 1), LetterPosition(9, 0)):
        with pytest.raises(UsageError, match=f"There is no dead letter {place}"):
            await letter_at(local.broker, local.topics, place)
    with pytest.raises(UsageError, match=r"There is no topic other\.triage\.dead-letters"):
        await listing(local.broker, Topics("triage", "other"), ALL, limit=1)


async def test_a_letter_that_retention_deleted_is_not_waited_for(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        topics = Topics("triage")
        await broker.ensure_topics([TopicSpec(topics.dead_letters, 1)])
        await broker.publish(Message(topics.dead_letters, b"{}"))
        await broker.trim({TopicPartition(topics.dead_letters, 0): 1})
        async with asyncio.timeout(SILENCE_MS / 2e3):
            with pytest.raises(UsageError, match="is gone: retention has deleted it"):
                await letter_at(broker, topics, LetterPosition(0, 0))


@pytest.mark.parametrize("name", ["", "7", "a/b", "1/", "1/2/3", "-1/2", "9" * 40 + "/1"])
def test_an_invalid_position_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match="is not a dead letter"):
        parse_position(name)


NAMES = ["origin", "error-code", "failed-at-ms", "attempt", "history", "left-out", "tenant", "worker", "key"]


@given(st.binary(), st.lists(st.tuples(st.sampled_from(NAMES), st.binary())))
def test_a_letter_of_any_bytes_is_shown_and_replayed(body: bytes, headers: list[tuple[str, bytes]]) -> None:
    topics = Topics("triage")
    record = Record(topics.dead_letters, 0, 1, None, body, tuple(headers), 5)
    msgspec.json.encode(letter_of(record))
    assert replay_of(record, topics, {topics.requests: 4}).value == body


class Cli:
    """The commands over a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, name: str, *arguments: str) -> tuple[str, str]:
        """Its standard output and standard error."""
        command.main(["triage", name, "--embedded", str(self.folder), *arguments], standalone_mode=False)
        return tuple(self._capsys.readouterr())  # type: ignore[return-value]


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    async def fill() -> None:
        async with EmbeddedBroker(tmp_path) as broker:
            rig = LetterRig(broker, Topics("triage"))
            await rig.open()
            await rig.bury(a_request(rig.topics))
            await rig.bury(a_request(rig.topics, b"\x1b[2J\xff"), DeviceUnavailable("wait."))

    asyncio.run(fill())
    return Cli(tmp_path, capsys)


def test_list_shows_letters_without_a_mark(cli: Cli) -> None:
    out, beside = cli("list")
    assert [line.split()[0] for line in out.splitlines()] == ["LETTER", "0/0", "0/1"]
    assert beside == "2 dead letters (1 device_error, 1 device_unavailable).\n"
    rows = json.loads(cli("list", "--json", "--code", "device_error")[0])
    assert [(row["letter"], row["id"], row["attempts"]) for row in rows] == [("0/0", "t1", 1)]
    assert "these are the newest 1" in cli("list", "--limit", "1")[1]


def test_show_prints_all_fields_and_the_body(cli: Cli) -> None:
    lines = cli("show", "0/0")[0].splitlines()
    assert {"code: device_error", "id: t1", "worker: w1/9", "version: abc", "  tenant: acme"} <= set(lines)
    assert lines[-1] == f"body: {BODY.decode()}"
    assert cli("show", "0/0", "--body")[0] == BODY.decode()
    whole = json.loads(cli("show", "0/1", "--json")[0])
    assert whole["body"] == {"base64": "G1sySv8="}


def test_replay_is_a_dry_run_without_yes(cli: Cli) -> None:
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
