"""`inferstream chat`: a process with pipes or a terminal, and a responder that serves its folder."""

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.responder import Responder, responder_thread

from inferstream.pipeline.broker.base import Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.output.escaped import escaped
from inferstream.pipeline.cli.pipes.chat import figures
from inferstream.pipeline.client.replies import Answer
from inferstream.schemas.codec import decode_request
from inferstream.schemas.generation import (
    ChatMessage,
    Choice,
    GenerateOutput,
    GenerateRequest,
    Token,
    Usage,
)
from inferstream.schemas.messages import Chunk, Failure, Reply, Request, Result, Timings
from inferstream.schemas.topics import Topics

LIMIT_S = 60
TOPICS = Topics("generate")
COMMAND = [sys.executable, "-m", "inferstream.pipeline.cli.main", "chat"]


async def make_cancels(folder: Path) -> None:
    async with EmbeddedBroker(folder) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.cancels, 1)])


def messages_of(record: Record) -> list[ChatMessage]:
    request = decode_request(record.value, GenerateRequest)
    assert isinstance(request.messages, list)
    return request.messages


def echoed(record: Record, request: Request) -> list[Reply]:
    """The last turn in two pieces, and the end; "never" has no end, "no" fails, and "half" behind its first pieces."""
    last = messages_of(record)[-1].content
    number = str(request.id)
    if last == "no":
        return [Failure(number, "generate", "too_large", "The prompt is too long.")]
    text = f"You say {last}"
    tokens = [Token(1, text[:5]), Token(2, text[5:])]
    chunk = Chunk(number, 0, "generate", "m", "1", from_=0, output=msgspec.Raw(msgspec.json.encode(tokens)))
    if last == "never":
        return [chunk]
    if last == "half":
        return [chunk, Failure(number, "generate", "internal", "The model failed.", seq=1)]
    output = GenerateOutput([Choice(text, [1, 2], [5, len(text) - 5], "end")], Usage(9, 0, 2))
    end = Result(number, "generate", "m", "1", msgspec.Raw(msgspec.json.encode(output)), seq=1)
    return [chunk, end]


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    asyncio.run(make_cancels(tmp_path / "queue"))
    with responder_thread(tmp_path / "queue", echoed, TOPICS) as responder:
        yield responder


def chat(tmp_path: Path, lines: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*COMMAND, "--embedded", str(tmp_path / "queue"), *arguments]
    return subprocess.run(command, input=lines, capture_output=True, timeout=LIMIT_S)


def test_each_line_is_a_turn_of_one_conversation(tmp_path: Path, responder: Responder) -> None:
    done = chat(tmp_path, b"Hello\n\n  \nAgain\n", "--system", "Be brief.", "--max-tokens", "7")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "You say Hello\nYou say Again\n"
    first, second = responder.records
    assert messages_of(first) == [ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")]
    assert messages_of(second) == [
        *messages_of(first),
        ChatMessage("assistant", "You say Hello"),
        ChatMessage("user", "Again"),
    ]
    assert first.key == second.key
    assert {tuple(request.options.items()) for request in responder.requests} == {
        (("too_long", "window"), ("max_tokens", 7))
    }


def test_a_turn_that_fails_is_told_and_is_not_part_of_the_conversation(
    tmp_path: Path, responder: Responder
) -> None:
    done = chat(tmp_path, b"no\nHello\n\xff\n", "--conversation", "c-1")
    assert done.returncode == 3
    assert done.stdout.decode() == "You say Hello\n"
    failed, undecoded = done.stderr.decode().splitlines()
    assert failed == "The prompt is too long."
    assert "UTF-8" in undecoded
    assert [record.key for record in responder.records] == [b"c-1"] * 2
    assert messages_of(responder.records[1]) == [ChatMessage("user", "Hello")]


def test_what_was_shown_before_a_failure_stays_with_its_question(
    tmp_path: Path, responder: Responder
) -> None:
    done = chat(tmp_path, b"half\nHello\n")
    assert done.returncode == 3
    assert done.stdout.decode() == "You say half\nYou say Hello\n"
    assert messages_of(responder.records[1]) == [
        ChatMessage("user", "half"),
        ChatMessage("assistant", "You say half"),
        ChatMessage("user", "Hello"),
    ]


def test_the_sentence_of_a_missing_worker(tmp_path: Path) -> None:
    done = chat(tmp_path, b"Hello\n")
    assert b"inferstream worker generate --embedded" in done.stderr
    assert b"Traceback" not in done.stderr


class Terminal:
    """The other side of a program's terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""

    def read_until(self, wanted: bytes) -> None:
        """Read what is shown, to the end of ``wanted``."""
        while wanted not in self._unread:
            ready, _, _ = select.select([self._descriptor], [], [], LIMIT_S)
            assert ready, self._unread
            self._unread += os.read(self._descriptor, 4_096)
        self._unread = self._unread.partition(wanted)[2]

    def type(self, line: bytes) -> None:
        os.write(self._descriptor, line)


@contextmanager
def chat_in_a_terminal(folder: Path) -> Iterator[tuple[Terminal, "subprocess.Popen[bytes]"]]:
    controller, descriptor = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--embedded", str(folder / "queue")],
        stdin=descriptor,
        stdout=descriptor,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(descriptor)
    try:
        yield Terminal(controller), process
    finally:
        process.kill()
        process.communicate()
        with suppress(OSError):
            os.close(controller)


def test_ctrl_c_ends_an_answer_and_between_two_turns_the_program(
    tmp_path: Path, responder: Responder
) -> None:
    with chat_in_a_terminal(tmp_path) as (terminal, process):
        terminal.read_until(b"> ")
        terminal.type(b"never\n")
        terminal.read_until(b"You say never")
        process.send_signal(signal.SIGINT)
        terminal.read_until(b"> ")
        terminal.type(b"Hello\n")
        terminal.read_until(b"You say Hello")
        terminal.read_until(b"> ")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    assert [one.content for one in messages_of(responder.records[1])] == ["never", "You say never", "Hello"]


@pytest.mark.parametrize("turns", [0, 1])
def test_one_ctrl_d_ends_the_program(tmp_path: Path, responder: Responder, turns: int) -> None:
    """A terminal tells the end once; a program that reads again waits for a second one."""
    with chat_in_a_terminal(tmp_path) as (terminal, process):
        terminal.read_until(b"> ")
        for _ in range(turns):
            terminal.type(b"Hello\n")
            terminal.read_until(b"You say Hello")
            terminal.read_until(b"> ")
        terminal.type(b"\x04")
        assert process.wait(LIMIT_S) == 0


def test_what_a_model_makes_sends_no_commands_to_the_terminal() -> None:
    assert escaped("a\tb\nc é 中 👍🏽") == "a\tb\nc é 中 👍🏽"
    assert escaped("\x1b[31mred\x07\x9b") == "\\x1b[31mred\\x07\\x9b"


def test_the_figures_of_an_answer() -> None:
    def answer(cache: Any, cached: int, ended_by: Any) -> Answer[GenerateOutput]:
        output = GenerateOutput([Choice("a", [1] * 40, [1] * 40, ended_by)], Usage(90, cached, 40))
        reply = Result(
            "1", "generate", "m", "1", msgspec.Raw(b""), cache, Timings(total_ms=2_000, first_ms=120.4)
        )
        return Answer(output, reply)

    assert figures(answer("miss", 80, "end")) == (
        "40 tokens, 20 tokens/s, the first after 120 ms, 80 of 90 of the prompt read before"
    )
    assert figures(answer("memory", 0, "length")) == "40 tokens, ended by --max-tokens or the context"
