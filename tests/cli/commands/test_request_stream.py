"""`inferstream request --stream`: a process with pipes, and a responder that serves its folder."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.responder import Responder, answer_all_except, responder_thread, result

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.cli.main import run
from inferstream.schemas.messages import Failure, Reply, Request

Start = Callable[..., "subprocess.Popen[bytes]"]
LIMIT_S = 60


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def responder(queue: Path) -> Iterator[Responder]:
    with responder_thread(queue) as responder:
        yield responder


@pytest.fixture
def start(queue: Path, responder: Responder) -> Iterator[Start]:
    """Starts the command with pipes for standard input, output and error."""
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "request", "triage", "--stream"]

    def start_command(*arguments: str, **how: Any) -> "subprocess.Popen[bytes]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([*command, "--embedded", str(queue), *arguments], **(pipes | how))
        started.append(process)
        return process

    yield start_command
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with suppress(BrokenPipeError):  # what was not written
                    pipe.close()


def say(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    assert process.stdin
    process.stdin.write(line)
    process.stdin.flush()


def heard(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout
    return process.stdout.readline()


def line_of(text: str) -> bytes:
    """What the task's `line` makes of the responder's answer."""
    return f"billing\t0.90\thigh\t{text}\n".encode()


def test_each_line_is_answered_before_the_next_one_comes(start: Start) -> None:
    process = start()
    for text in ("one", "two", "drei größer"):
        say(process, f"{text}\n".encode())
        assert heard(process) == line_of(text), "the input has not ended"
    rest, told = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, rest, told) == (0, b"", b"")


def test_a_last_line_without_an_end_is_answered_at_the_end(start: Start) -> None:
    assert start().communicate(b"\xef\xbb\xbfa\r\nb", timeout=LIMIT_S)[0] == line_of("a") + line_of("b")
    assert start().communicate(b"", timeout=LIMIT_S)[0] == b""


def test_answers_keep_the_order_of_the_lines(start: Start, responder: Responder) -> None:
    late: list[Reply] = []

    def the_first_is_answered_last(record: Record, request: Request) -> Iterable[Reply]:
        (late if request.text == "0" else others).append(result(request))
        if len(responder.records) == len(sent):
            yield from others + late

    others: list[Reply] = []
    responder.behavior = the_first_is_answered_last
    process = start()
    sent = [str(number) for number in range(100)]
    answers = process.communicate("".join(f"{text}\n" for text in sent).encode(), timeout=LIMIT_S)[0]
    assert answers == b"".join(map(line_of, sent))


def test_a_file_is_read_no_further_than_its_answers_are_taken(start: Start, responder: Responder) -> None:
    """So a million lines need no more memory than eight."""
    responder.behavior = answer_all_except("0")
    process = start("--max-in-flight", "8")
    say(process, "".join(f"{number}\n" for number in range(5_000)).encode())
    responder.wait_for(8)
    process.send_signal(signal.SIGINT)
    process.wait(LIMIT_S)
    assert len(responder.records) == 8


def test_a_line_that_fails_is_told_with_its_number_and_the_stream_goes_on(
    start: Start, responder: Responder
) -> None:
    def one_fails(record: Record, request: Request) -> Iterable[Reply]:
        yield (
            Failure(str(request.id), "triage", "too_large", "It is too long.")
            if request.text == "bad"
            else result(request)
        )

    responder.behavior = one_fails
    content = b"a\nbad\n\xff\nb\n"
    process = start()
    answers, told = process.communicate(content, timeout=LIMIT_S)
    assert (process.returncode, answers) == (3, line_of("a") + line_of("b"))
    assert told.startswith(b"Line 2: It is too long. (too_large)\nLine 3: The line is not UTF-8")
    process = start("--json")
    answers = process.communicate(content, timeout=LIMIT_S)[0]
    replies = [json.loads(line) for line in answers.splitlines()]
    assert [reply.get("code") for reply in replies] == [None, "too_large", "not_utf8", None]
    assert [reply["id"] for reply in replies] == ["1", "2", "3", "4"]


def test_a_blank_line_stays_one(start: Start, responder: Responder) -> None:
    def refuses(record: Record, request: Request) -> Iterable[Reply]:
        blank = request.text == "blank"  # as a worker answers a blank text
        refused = Failure(str(request.id), "triage", "blank_text", "The text is blank.")
        yield refused if blank else result(request)

    responder.behavior = refuses
    process = start()
    assert process.communicate(b"a\nblank\nb\n", timeout=LIMIT_S) == (
        line_of("a") + b"\n" + line_of("b"),
        b"",
    )
    assert process.returncode == 0
    process = start("--json")
    assert b"blank_text" in process.communicate(b"blank\n", timeout=LIMIT_S)[0]
    assert process.returncode == 3


def test_lines_may_be_objects_of_json(start: Start, responder: Responder) -> None:
    content = b'{"text": "a", "id": "x", "options": {"threshold": 0.5}}\nno\n'
    process = start("--format", "jsonl")
    answers, told = process.communicate(content, timeout=LIMIT_S)
    assert (process.returncode, answers) == (3, line_of("a"))
    assert told.startswith(b"Line 2: ")
    assert responder.requests[0].options == {"threshold": 0.5}


def test_without_a_worker_each_line_fails_in_its_own_time(start: Start, responder: Responder) -> None:
    responder.behavior = answer_all_except("a")
    process = start("--timeout", "0.5")
    say(process, b"a\n")
    assert process.stderr
    assert process.stderr.readline().startswith(b"Line 1: No reply came within 0.5 s")
    say(process, b"b\n")
    assert heard(process) == line_of("b")
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3


@pytest.mark.parametrize("waits_for", ["the next line", "an answer"])
def test_an_interrupt_ends_it_at_once(start: Start, responder: Responder, waits_for: str) -> None:
    process = start()
    say(process, b"a\n")
    assert heard(process) == line_of("a")
    if waits_for == "an answer":
        responder.behavior = answer_all_except("b")
        say(process, b"b\n")
        responder.wait_for(2)
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 130
    assert process.stderr
    assert b"Traceback" not in process.stderr.read()


def test_a_reader_that_ends_is_no_error(start: Start) -> None:
    process = start()
    say(process, b"a\n")
    heard(process)
    assert process.stdout
    process.stdout.close()
    say(process, b"b\n")
    assert process.wait(LIMIT_S) == 1
    assert process.stderr
    assert process.stderr.read() == b""


def test_a_reader_that_pauses_costs_no_answer(start: Start, responder: Responder, tmp_path: Path) -> None:
    """The answers are more than a pipe holds, and are read when the time for each request is over."""
    lines = tmp_path / "lines"
    lines.write_bytes(b"".join(b"%d %s\n" % (number, b"x" * 100) for number in range(2_000)))
    with lines.open("rb") as source:
        process = start("--timeout", "5", stdin=source)  # what is asked after the pause is answered in time
    responder.wait_for(600)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(6)
    assert process.stdout
    answers = process.stdout.read().splitlines()
    process.wait(LIMIT_S)
    assert (process.returncode, len(answers)) == (0, 2_000)


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        ("ab\n".encode("utf-16"), (), "Standard input looks like UTF-16: save it as UTF-8"),
        (b"text\na\n", ("--format", "csv", "--text", "body"), "has no column 'body'"),
    ],
)
def test_an_input_that_is_no_text_is_told_in_one_sentence(
    start: Start, content: bytes, arguments: tuple[str, ...], sentence: str
) -> None:
    process = start(*arguments)
    _, told = process.communicate(content, timeout=LIMIT_S)
    assert process.returncode == 2
    assert sentence in told.decode()
    assert told.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [["a"], ["--file", "a.txt"], ["--out", "a.txt"]])
def test_stream_goes_alone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["request", "triage", "--stream", *arguments]) == 2
    assert "Error: " in capsys.readouterr().err
