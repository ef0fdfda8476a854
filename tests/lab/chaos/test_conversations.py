"""The parts of the scenario `conversations`: what callers and the topic count, and the whole scenario."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import INFERSTREAM

from inferstream import Cancelled
from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.client.pieces import Pieces
from inferstream.pipeline.client.sent_request import SentRequest
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.lab.chaos.conversation_counts import ConversationCounts
from inferstream.pipeline.lab.chaos.conversation_load import ConversationLoad, Pauses
from inferstream.pipeline.lab.chaos.conversation_log import ID_PREFIX, ConversationLog
from inferstream.pipeline.lab.chaos.equal_answers import EqualAnswers, Made, asked
from inferstream.pipeline.lab.chaos.left_requests import LeftRequests
from inferstream.pipeline.lab.chaos.scripts import scripts
from inferstream.schemas.codec import encode
from inferstream.schemas.generation import Choice, GenerateOutput, Token, Usage, tokens_of
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
from inferstream.testing import FakeClient, Streamed

TIMEOUT_S = 280.0
ID = f"{ID_PREFIX}0-0/0"
NEXT = f"{ID_PREFIX}0-0/0/again"


def output_of(text: str) -> GenerateOutput:
    """An answer with a token for each character."""
    tokens = [ord(character) for character in text]
    return GenerateOutput([Choice(text, tokens, [1] * len(text), "length")], Usage(3, 0, len(text)))


def chunk(start: int, text: str, identity: str = ID) -> Chunk:
    pieces = msgspec.Raw(msgspec.json.encode(tokens_of(output_of(text))))
    return Chunk(identity, 0, "generate", "m", "1", from_=start, output=pieces)


def result(text: str, identity: str = ID) -> Result:
    return Result(identity, "generate", "m", "1", msgspec.Raw(msgspec.json.encode(output_of(text))))


CANCELLED = Failure(ID, "generate", "cancelled", "No.")


def read(log: ConversationLog, *replies: Reply) -> ConversationCounts:
    for reply in replies:
        log.read(Record("replies", 0, 0, None, encode(reply), (), 0))
    return log.counts


@pytest.fixture
def log(clock: FakeClock) -> ConversationLog:
    log = ConversationLog(clock)
    for identity in (ID, NEXT):
        log.asked(identity, "c")
    return log


def test_chunks_that_come_again_cut_otherwise_and_a_second_end_change_nothing(log: ConversationLog) -> None:
    told = [
        chunk(0, "Hel"),
        chunk(3, ""),
        chunk(0, "Hell"),
        chunk(4, "o"),
        result("Hello."),
        result("Hello."),
    ]
    counts = read(log, *told, chunk(0, "Yes", NEXT), result("Yes", NEXT))
    assert counts.clean
    assert counts.chunks == 5


@pytest.mark.parametrize(
    "wrong",
    [
        [chunk(0, "Hel"), chunk(0, "Hal")],
        [chunk(0, "Hel"), chunk(4, "o")],
        [chunk(0, "Hel"), result("Hallo")],
        [chunk(0, "Hello"), result("Hell")],
        [result("Hello"), result("Hallo")],
        [chunk(0, "Hel"), result("Hello"), chunk(3, "p")],
    ],
)
def test_a_token_that_changes_on_the_topic_is_found(log: ConversationLog, wrong: list[Reply]) -> None:
    counts = read(log, *wrong)
    assert counts.changed == 1
    assert not counts.clean


def test_a_token_before_the_end_of_the_earlier_request_is_out_of_order(log: ConversationLog) -> None:
    counts = read(log, chunk(0, "Y", NEXT), result("Hello"), result("Yes", NEXT))
    assert counts.misordered == 1
    assert not counts.clean


def test_a_mark_of_a_new_owner_shows_nothing_and_is_in_order(log: ConversationLog) -> None:
    """A worker that takes over publishes the marks of all streams at once, also of those that wait for their turn."""
    counts = read(
        log, chunk(0, "Hel"), chunk(3, ""), chunk(0, "", NEXT), result("Hello"), result("Yes", NEXT)
    )
    assert counts.clean
    counts = read(log, chunk(0, "Y", NEXT))
    assert counts.clean, "a repetition behind both ends"


@pytest.mark.parametrize("reply", [chunk(0, "Y", NEXT), result("Yes", NEXT)])
def test_a_reply_behind_a_mark_is_still_out_of_order(log: ConversationLog, reply: Reply) -> None:
    assert read(log, chunk(0, "", NEXT), reply, result("Hello")).misordered == 1


def test_an_answer_that_was_left_is_open_until_its_end(log: ConversationLog, clock: FakeClock) -> None:
    log.left(ID, "leaves")
    assert not read(log, chunk(0, "Hel")).clean
    clock.advance(3)
    counts = read(log, CANCELLED, CANCELLED)
    assert counts.clean
    assert [(one.ended_after_s, one.code) for one in counts.left] == [(3, "cancelled")]


def test_an_answer_that_ends_while_its_caller_leaves_it_is_not_open(log: ConversationLog) -> None:
    """The run reads the end before the caller has read the token behind which it leaves."""
    read(log, chunk(0, "Hel"), result("Hello"))
    log.left(ID, "leaves")
    assert log.counts.clean
    assert [(one.ended_after_s, one.code) for one in log.counts.left] == [(0, "result")]


@pytest.mark.parametrize(
    ("fault", "shown"),
    [("doubled", "HHello"), ("doubled", "Helloo"), ("torn", "Hllo"), ("torn", "Hallo"), ("torn", "")],
)
def test_what_a_caller_must_not_see_is_counted(fault: str, shown: str) -> None:
    counts = ConversationCounts()
    counts.ended(tokens_of(output_of(shown)), output_of("Hello"))
    assert getattr(counts, fault) == 1
    assert not counts.clean


def test_a_text_that_is_not_that_of_the_tokens_is_torn() -> None:
    counts = ConversationCounts()
    counts.ended([Token(72, "H"), Token(105, "I")], output_of("Hi"))
    assert counts.torn == 1


def test_equal_requests_have_equal_answers_of_different_lengths() -> None:
    answers = EqualAnswers()
    for made in (Made([1], "a"), Made([1, 2, 3], "abc"), Made([1, 2]), Made([1, 2, 3], "abc")):
        answers.add(b"q", made)
    assert (answers.compared, answers.unequal) == (3, 0)


def test_an_answer_may_end_where_another_limit_has_cut_an_equal_one() -> None:
    cut, ended = Made([1, 2], "ab", limit=2), Made([1, 2], "ab", ended=True, limit=240)
    assert cut.agrees(ended)
    assert ended.agrees(cut)
    assert not cut.agrees(ended._replace(limit=2))
    assert not cut.agrees(ended._replace(text="ax"))


@pytest.mark.parametrize(
    "other", [Made([1, 2, 4], "abd"), Made([1, 2, 3], "abx"), Made([2]), Made([1, 2], "ab", ended=True)]
)
def test_another_answer_to_an_equal_request_is_found(other: Made) -> None:
    answers = EqualAnswers()
    answers.add(b"q", Made([1, 2, 3], "abc"))
    answers.add(b"q", other)
    assert answers.unequal == 1
    assert answers.examples == [(Made([1, 2, 3], "abc"), other)]


def test_the_length_of_an_answer_does_not_make_a_request_another_one() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    assert asked(messages, {"max_tokens": 9, "seed": 1}) == asked(messages, {"seed": 1, "max_tokens": 7})
    assert asked(messages, {"max_tokens": 9, "seed": 1}) != asked(messages, {"max_tokens": 9, "seed": 2})


def test_a_killed_client_whose_request_never_ends_is_found(clock: FakeClock) -> None:
    left = LeftRequests(ID_PREFIX, "requests", clock)
    body = msgspec.json.encode({"id": ID, "messages": []})
    left.read([Record("requests", 0, 0, ID.encode(), body, (), 0)])
    left.read([Record("replies", 0, 0, ID.encode(), encode(chunk(0, "Hel")), (), 0)])
    left.killed()
    counts = ConversationCounts()
    counts.killed(left)
    assert counts.killed_open == 1
    assert not counts.clean


def answer_to(sent: SentRequest) -> Streamed:
    """The longer the conversation is, the longer is the answer; 40 tokens at most."""
    text = "abcdefgh" * len(sent.body.messages)
    output = output_of(text[:40])
    return Streamed(tokens_of(output), output)


async def talked(answer: Any) -> ConversationCounts:
    """What some callers see, who talk for a moment; the topic is not read."""
    log = ConversationLog(time.monotonic)
    end = time.monotonic() + 0.3
    async with asyncio.timeout(60), FakeClient({"generate": answer}) as client:
        pauses = Pauses((0.0, 0.01), 2.0)
        load = ConversationLoad(client, log, time.monotonic, seed=1, calm_s=0.0, pauses=pauses)
        await load.send(6, lambda: time.monotonic() >= end)
    log.counts.open = 0  # the ends are not read
    return log.counts


async def test_callers_see_whole_answers_and_leave_some() -> None:
    counts = await talked(answer_to)
    assert counts.clean, counts
    assert counts.whole > 10
    assert counts.compared > 10
    assert len(counts.firsts) >= counts.whole
    assert not counts.failed


async def test_a_worker_that_answers_otherwise_is_found() -> None:
    asked_before = 0

    def moody(sent: SentRequest) -> Streamed:
        nonlocal asked_before
        asked_before += 1
        text = "abc" if asked_before % 5 else "abd"
        return Streamed(tokens_of(output_of(text)), output_of(text))

    counts = await talked(moody)
    assert counts.unequal > 0
    assert not counts.clean


async def test_a_client_that_shows_a_token_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Pieces.take
    shown: set[int] = set()

    def twice(self: Pieces) -> Any:
        piece = take(self)
        if piece.text == "c" and id(self) not in shown:
            shown.add(id(self))
            self._append([piece], 0)
        return piece

    monkeypatch.setattr(Pieces, "take", twice)
    counts = await talked(lambda _: Streamed([], output_of("abcc")))
    assert counts.doubled > 0
    assert not counts.clean


async def test_an_answer_that_begins_otherwise_than_its_pieces_is_torn() -> None:
    counts = await talked(lambda _: Streamed(tokens_of(output_of("ab")), output_of("ax")))
    assert counts.torn > 0
    assert not counts.clean


async def test_errors_are_counted_by_their_codes() -> None:
    counts = await talked(Cancelled("No."))
    assert counts.failed.keys() == {"cancelled"}


def test_scripts_depend_on_the_seed_alone() -> None:
    assert scripts(1) == scripts(1) != scripts(2)
    assert {"seed" in one.options for one in scripts(1)} == {True, False}


@pytest.mark.kafka
def test_the_whole_scenario_in_short(tmp_path: Path) -> None:
    subprocess.run([INFERSTREAM, "models", "pull", "smollm2-135m"], check=True, capture_output=True)
    arguments = ["--scenario", "conversations", "--minutes", "0.4", "--out", str(tmp_path), "--json"]
    done = subprocess.run([INFERSTREAM, "chaos", *arguments], capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    figures = {row["name"]: row for row in json.loads(done.stdout)}
    assert all(
        figures[name]["value"] > 0 for name in ("turns_whole", "turns_compared", "turns_killed", "faults")
    )
    assert [name for name, row in figures.items() if row["met"] is False] == []
