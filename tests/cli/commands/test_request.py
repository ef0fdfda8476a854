"""`inferstream request` against a responder that serves the same folder from another thread."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.main import run
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Request, Result, TriageOutput
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("triage")


class Responder(threading.Thread):
    """Answers each request with its text as the route, but is silent on those for which ``answers`` is false."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.asked: list[Request] = []
        self.headers: list[dict[str, bytes]] = []
        self.answers: Callable[[Request], bool] = lambda request: True
        self.up, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        async with EmbeddedBroker(self.folder) as broker:
            await broker.ensure_topics([TopicSpec(TOPICS.requests, 2), TopicSpec(TOPICS.replies, 2)])
            consumer = await broker.consume([TOPICS.requests], group="responder")
            self.up.set()
            while not self.over.is_set():
                for record in await consumer.poll(1_000, 50):
                    request = decode_request(record.value)
                    self.asked.append(request)
                    self.headers.append(dict(record.headers))
                    if self.answers(request):
                        await broker.publish(Message(TOPICS.replies, encode(reply(request)), record.key))

    def texts(self) -> list[str]:
        return [str(request.text) for request in self.asked]


def reply(request: Request) -> Result:
    output = TriageOutput("billing", 0.9, "high", str(request.text), needs_human=False)
    return Result(str(request.id), "triage", "m", "1", msgspec.Raw(msgspec.json.encode(output)))


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    responder = Responder(tmp_path / "queue")
    responder.start()
    assert responder.up.wait(10)
    yield responder
    responder.over.set()
    responder.join(10)


@pytest.fixture
def request_(responder: Responder) -> Callable[..., int]:
    return lambda *arguments: run(["request", "triage", *arguments, "--embedded", str(responder.folder)])


Ask = Callable[..., int]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def routes(path: Path) -> list[str]:
    return [line["output"]["route"] if line["type"] == "result" else line["code"] for line in lines(path)]


def test_one_text_is_shown_for_a_reader(request_: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    assert request_("I was charged twice") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("billing", "90%", "I was charged twice", "high"))


def test_one_text_as_json_is_the_reply(
    request_: Ask, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert request_("a", "--json", "--model", "big", "--priority", "low", "--threshold", "0.5") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["type"], shown["output"]["route"]) == ("result", "a")
    assert responder.asked[0].options == {"threshold": 0.5}
    assert responder.headers[0][Header.MODEL] == b"big"
    assert responder.headers[0][Header.PRIORITY] == b"low"


def test_a_text_from_standard_input(
    request_: Ask, monkeypatch: pytest.MonkeyPatch, responder: Responder
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a mail\nof two lines\n"))
    assert request_("-") == 0
    assert responder.texts() == ["a mail\nof two lines\n"]


def test_a_file_gets_a_line_for_each_line(
    request_: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "tickets.jsonl", tmp_path / "routed.jsonl"
    source.write_bytes(
        b'{"id":"t1","text":"a","expected":"ignored"}\n{"text":"b"}\nnot json\n\n{"id":"t5","text":7}\n{"text":"c"}'
    )
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == ["a", "b", "not_json", "empty_body", "wrong_type", "c"]
    assert [line["id"] for line in lines(out)] == ["t1", "2", "3", "4", "t5", "6"]
    assert "3 answered (0 without the model), 3 failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"a\r\nb\n\xff\nc", ["a", "b", "not_utf8", "c"]),
        ("a.csv", b'\xef\xbb\xbfid,text\nx,"a\nb, c"\ny,d\n', ["a\nb, c", "d"]),
        ("a.ndjson", b'{"text":"a"}\n', ["a"]),
        ("empty.txt", b"", []),
    ],
)
def test_other_formats(request_: Ask, tmp_path: Path, name: str, content: bytes, expected: list[str]) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(content)
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == expected


def test_a_pipe_to_a_pipe(responder: Responder) -> None:
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "request", "triage"]
    piped = subprocess.run(
        [*command, "--file", "-", "--format", "txt", "--embedded", str(responder.folder)],
        input=b"a\nb\n",
        capture_output=True,
        check=True,
    )
    assert [json.loads(line)["output"]["route"] for line in piped.stdout.splitlines()] == ["a", "b"]


@pytest.mark.parametrize("torn", [b"", b'{"type":"res'])
def test_a_run_goes_on_behind_the_last_complete_line(
    request_: Ask, responder: Responder, tmp_path: Path, torn: bytes
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("".join(f"{number}\n" for number in range(600)))
    assert request_("--file", str(source), "--out", str(out)) == 0
    whole = out.read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:250])
    out.write_bytes(kept + torn)
    responder.asked.clear()
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert sorted(responder.texts(), key=int) == [str(number) for number in range(250, 600)]
    assert out.read_bytes() == whole
    responder.asked.clear()
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert (responder.asked, out.read_bytes()) == ([], whole)


@pytest.mark.parametrize("changed", ["x\ny\n", "a\n"])
def test_another_files_replies_are_not_added_to(
    request_: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id":"a1","text":"a"}\n{"id":"a2","text":"b"}\n')
    assert request_("--file", str(source), "--out", str(out)) == 0
    source.write_text("".join(f'{{"id":"{text}","text":"t"}}\n' for text in changed.split()))
    assert request_("--file", str(source), "--out", str(out)) == 2
    assert "does not belong to this input (line 2 has another id)" in capsys.readouterr().err


def test_silence_stops_the_run_and_the_next_goes_on(
    request_: Ask, responder: Responder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\nd\n")
    responder.answers = lambda request: request.text != "c"
    assert request_("--file", str(source), "--out", str(out), "--timeout", "0.3") == 1
    shown = capsys.readouterr().err
    assert "Stopped after line 2: run the same command again" in shown
    assert "Error: No answer came for 0.3 s: is a worker running?" in shown
    responder.answers = lambda request: True
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == ["a", "b", "c", "d"]


def test_an_interrupt_says_how_to_go_on(request_: Ask, responder: Responder, tmp_path: Path) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\n")
    responder.answers = lambda request: request.text != "c"
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "request", "triage"]
    process = subprocess.Popen(
        [*command, "--file", str(source), "--out", str(out), "--embedded", str(responder.folder)],
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 20
    while len(responder.asked) < 3 and time.monotonic() < end:
        responder.over.wait(0.01)
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "run the same command again to continue there." in shown
    assert "Traceback" not in shown
    responder.answers = lambda request: True
    assert request_("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == ["a", "b", "c"]


def test_two_runs_do_not_write_to_one_file(
    request_: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inferstream.pipeline.client.files import ReplyFile

    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\n")
    with ReplyFile(out):
        assert request_("--file", str(source), "--out", str(out)) == 2
    assert "Another run is writing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 2, "Give either a text or --file"),
        (["a", "--file", "b.txt"], 2, "Give either a text or --file"),
        (["a", "--out", "b"], 2, "--out goes with --file"),
        (["a", "--kafka", "x:1"], 2, "Give either --kafka or --embedded"),
        (["--file", "nowhere.txt"], 1, "Cannot use nowhere.txt: No such file or directory."),
        (["--file", "tickets"], 2, "does not tell its format: add --format"),
        (["--file", "tickets.txt", "--out", "./tickets.txt"], 2, "--out is the input itself"),
        (["--file", "bad.csv"], 2, "has no column `text`"),
    ],
)
def test_mistakes_get_one_sentence(
    request_: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tickets", "tickets.txt", "bad.csv"):
        (tmp_path / name).write_text("a\n")
    assert request_(*arguments) == status
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown


def test_a_failure_is_told_and_its_kind_decides_the_status(
    tmp_path: Path, responder: Responder, request_: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert request_("\udcff") == 2
    assert "Error: " in capsys.readouterr().err
    assert run(["request", "triage", "a", "--embedded", str(tmp_path / "elsewhere")]) == 1
    assert "`inferstream worker triage --embedded" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["request", "--help"], ["demo", "--help"]])
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 0
    assert "inferstream " + command[0] + " " in capsys.readouterr().out.partition("\n")[2]
