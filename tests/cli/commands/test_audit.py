"""`inferstream audit`: what it prints, and the exit status that scripts go by."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.commands.audit import command
from inferstream.pipeline.errors import UsageError
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Topics

TOPICS = Topics("triage")


def result(identity: str) -> Message:
    return Message(TOPICS.replies, encode(Result(identity, "triage", "m", "1", msgspec.Raw(b"{}"))))


def request(identity: str) -> Message:
    return Message(TOPICS.requests, encode(Request("a text", id=identity)), b"k")


def failure(identity: str, code: str) -> Message:
    return Message(TOPICS.replies, encode(Failure(identity, "triage", code, "because")))


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def put(queue: Path, *messages: Message) -> None:
    async def publish() -> None:
        async with EmbeddedBroker(queue) as broker:
            await broker.ensure_topics([TopicSpec(name, 1) for name in (TOPICS.requests, TOPICS.replies)])
            for message in messages:
                await broker.publish(message)

    asyncio.run(publish())


def audit(queue: Path, *arguments: str, task: str = "triage") -> Any:
    """The exit status."""
    return command.main([task, "--embedded", str(queue), *arguments], standalone_mode=False)


def test_a_clean_pipeline_exits_with_0(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(queue, request("a"), request("b"), result("a"), failure("b", "too_large"))
    assert audit(queue) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[:3]] == [["2", "requests"], ["1", "results"], ["1", "failures"]]
    assert lines[2][-1] == "too_large"
    assert ["0", "missing"] in [line[:2] for line in lines]


def test_a_loss_exits_with_3_and_names_it(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(queue, request("a"), request("b"), result("a"))
    assert audit(queue) == 3
    out = capsys.readouterr().out
    assert "Missing, for example: b" in out
    assert "The oldest that has not ended: b, sent 0 s ago" in out
    assert audit(queue, "--grace", "1h") == 0
    assert audit(queue, "--until", "1h") == 0
    assert audit(queue, "--since", "1h") == 3
    assert audit(queue, "--since", "2999-01-01") == 0


def test_duplicates_fail_only_a_strict_audit(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(queue, request("a"), result("a"), result("a"))
    assert audit(queue, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["clean"], report["duplicated"], report["requests"]) == (True, 1, 1)
    assert audit(queue, "--json", "--strict") == 3
    assert not json.loads(capsys.readouterr().out)["clean"]


def test_order_fails_an_audit(queue: Path) -> None:
    put(queue, request("a"), request("b"), result("b"), result("a"))
    assert audit(queue) == 3


def test_an_unread_reply_topic_is_named(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(queue, request("a")._replace(headers=(("reply-topic", b"desk"),)))
    assert audit(queue) == 3
    assert "add --replies desk" in capsys.readouterr().err


def test_ids_cannot_control_the_terminal(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(queue, request("\x1b[2J"), request("[red]x"))
    assert audit(queue) == 3
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "'\\x1b[2J'" in out
    assert "[red]x" in out


def test_a_second_audit_continues_the_work_file(queue: Path, tmp_path: Path) -> None:
    work = str(tmp_path / "work")
    put(queue, request("a"))
    assert audit(queue, "--work", work) == 3
    put(queue, result("a"))
    assert audit(queue, "--work", work) == 0


def test_invalid_options_are_named(queue: Path) -> None:
    put(queue, request("a"))
    with pytest.raises(UsageError, match="either --kafka or --embedded"):
        audit(queue, "--kafka", "k:1")
    with pytest.raises(UsageError, match=r"There is no topic inferstream\.other\.requests"):
        audit(queue, task="other")
    with pytest.raises(Exception, match="'yesterday' is no time: write"):
        audit(queue, "--since", "yesterday")
