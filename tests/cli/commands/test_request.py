"""`inferstream request` with a responder that serves the same folder in another thread."""

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.responder import Responder, answer_all, answer_all_except, responder_thread

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.client.reply_file import ReplyFile
from inferstream.schemas.topics import Header

Run = Callable[..., int]


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """The folder of the embedded broker."""
    return tmp_path / "queue"


@pytest.fixture
def responder(queue: Path) -> Iterator[Responder]:
    with responder_thread(queue) as responder:
        yield responder


@pytest.fixture
def run_request(queue: Path, responder: Responder) -> Run:
    return lambda *arguments: run(["request", "triage", *arguments, "--embedded", str(queue)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def routes(path: Path) -> list[str]:
    return [line["output"]["route"] if line["type"] == "result" else line["code"] for line in lines(path)]


def test_one_text_prints_the_answer(run_request: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_request("I was charged twice") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("billing", "90%", "I was charged twice", "high"))


def test_one_text_with_json_prints_the_reply(
    run_request: Run, responder: Responder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_request("a", "--json", "--model", "big", "--priority", "low", "--threshold", "0.5") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["type"], shown["output"]["route"]) == ("result", "a")
    assert responder.requests[0].options == {"threshold": 0.5}
    headers = dict(responder.records[0].headers)
    assert (headers[Header.MODEL], headers[Header.PRIORITY]) == (b"big", b"low")


def test_a_text_from_standard_input(
    run_request: Run, monkeypatch: pytest.MonkeyPatch, responder: Responder
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa mail\nof two lines\n")))
    assert run_request("-") == 0
    assert responder.texts == ["a mail\nof two lines\n"]


def test_each_line_of_a_file_gets_a_reply(
    run_request: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "tickets.jsonl", tmp_path / "routed.jsonl"
    source.write_bytes(
        b'{"id":"t1","text":"a","expected":"ignored"}\n{"text":"b"}\nnot json\n\n{"id":"t5","text":7}\n{"text":"c"}'
    )
    assert run_request("--file", str(source), "--out", str(out)) == 3
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
def test_other_formats(
    run_request: Run, tmp_path: Path, name: str, content: bytes, expected: list[str]
) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(content)
    status = 3 if "not_utf8" in expected else 0
    assert run_request("--file", str(source), "--out", str(out)) == status
    assert run_request("--file", str(source), "--out", str(out)) == status, "all are there"
    assert routes(out) == expected


def test_a_pipe_to_a_pipe(queue: Path, responder: Responder) -> None:
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "request", "triage"]
    piped = subprocess.run(
        [*command, "--file", "-", "--format", "txt", "--embedded", str(queue)],
        input=b"a\nb\n",
        capture_output=True,
        check=True,
    )
    assert [json.loads(line)["output"]["route"] for line in piped.stdout.splitlines()] == ["a", "b"]


@pytest.mark.parametrize("torn", [b"", b'{"type":"res'])
def test_a_run_continues_after_the_last_complete_line(
    run_request: Run, responder: Responder, tmp_path: Path, torn: bytes
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("".join(f"{number}\n" for number in range(600)))
    assert run_request("--file", str(source), "--out", str(out)) == 0
    whole = out.read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:250])
    out.write_bytes(kept + torn)
    responder.records.clear()
    assert run_request("--file", str(source), "--out", str(out)) == 0
    assert sorted(responder.texts, key=int) == [str(number) for number in range(250, 600)]
    assert out.read_bytes() == whole
    responder.records.clear()
    assert run_request("--file", str(source), "--out", str(out)) == 0
    assert (responder.records, out.read_bytes()) == ([], whole)


def test_a_table_is_refused_for_answers_that_are_lists(
    queue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\n1,hello\n")
    assert run(["request", "embed", "--file", str(source), "--out", str(out), "--embedded", str(queue)]) == 2
    assert "The field 'vector' of an answer to 'embed' is a list" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("content", ["no line end", "a\nb\nno line end", "a,b\n1,2\n", '"open', '{"a": 1}'])
def test_a_file_of_something_else_is_kept_as_it_is(
    run_request: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / name
    source.write_text("text\na\nb\n")
    out.write_text(content)
    assert run_request("--file", str(source), "--out", str(out)) == 2
    assert "name another --out" in capsys.readouterr().err
    assert out.read_text() == content


@pytest.mark.parametrize("changed", ["x\ny\n", "a\n"])
def test_replies_to_another_file_are_not_extended(
    run_request: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id":"a1","text":"a"}\n{"id":"a2","text":"b"}\n')
    assert run_request("--file", str(source), "--out", str(out)) == 0
    source.write_text("".join(f'{{"id":"{text}","text":"t"}}\n' for text in changed.split()))
    assert run_request("--file", str(source), "--out", str(out)) == 2
    assert "does not belong to this input (line 2 has another id)" in capsys.readouterr().err


def test_a_timeout_stops_the_run_and_the_next_one_continues(
    run_request: Run, responder: Responder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\nd\n")
    responder.behavior = answer_all_except("c")
    assert run_request("--file", str(source), "--out", str(out), "--timeout", "2") == 1
    shown = capsys.readouterr().err
    assert "Stopped after line 2: run the same command again" in shown
    assert "Error: No answer came for 2 s: is a worker running?" in shown
    responder.behavior = answer_all
    assert run_request("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("out", [[], ["--out", "-"]])
def test_a_stopped_run_to_standard_output_cannot_be_continued(
    run_request: Run,
    responder: Responder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    out: list[str],
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a\n")
    responder.behavior = answer_all_except("a")
    assert run_request("--file", str(source), *out, "--timeout", "0.2") == 1
    shown = capsys.readouterr().err
    assert "No answer came for 0.2 s" in shown
    assert "run the same command again" not in shown


def test_an_interrupt_says_how_to_continue(
    run_request: Run, queue: Path, responder: Responder, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nc\n")
    responder.behavior = answer_all_except("c")
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "request", "triage"]
    process = subprocess.Popen(
        [*command, "--file", str(source), "--out", str(out), "--embedded", str(queue)],
        stderr=subprocess.PIPE,
        text=True,
    )
    responder.wait_for(3)
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "run the same command again to continue there." in shown
    assert "Traceback" not in shown
    responder.behavior = answer_all
    assert run_request("--file", str(source), "--out", str(out)) == 0
    assert routes(out) == ["a", "b", "c"]


def test_two_runs_cannot_write_to_one_file(
    run_request: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\n")
    with ReplyFile(out):
        assert run_request("--file", str(source), "--out", str(out)) == 2
    assert "Another run is writing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 2, "Give either a text, --file or --stream"),
        (["a", "--file", "b.txt"], 2, "Give either a text, --file or --stream"),
        (["a", "--out", "b"], 2, "--out goes with --file"),
        (["a", "--kafka", "x:1"], 2, "Give either --kafka or --embedded"),
        (["--file", "nowhere.txt"], 1, "Cannot use nowhere.txt: No such file or directory."),
        (
            ["--file", "tickets"],
            2,
            "does not show a format that is read here: add --format jsonl, csv, tsv or txt.",
        ),
        (["--file", "tickets.txt", "--out", "./tickets.txt"], 2, "--out is the input itself"),
        (["--file", "bad.csv"], 2, "has no column 'text'; name the right one with --text: a."),
    ],
)
def test_a_mistake_prints_one_sentence(
    run_request: Run,
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
    assert run_request(*arguments) == status
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown


def test_the_kind_of_a_failure_decides_the_exit_status(
    tmp_path: Path, run_request: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_request("\udcff") == 2
    assert "Error: " in capsys.readouterr().err
    assert run(["request", "triage", "a", "--embedded", str(tmp_path / "elsewhere")]) == 1
    assert "`inferstream worker triage --embedded" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["request", "--help"], ["demo", "--help"]])
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 0
    assert "inferstream " + command[0] + " " in capsys.readouterr().out.partition("\n")[2]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


CSV = b'Nr,Body,Note\r\n7,"a\r\n""b"", c",x\r\n8,b\xff,y\r\n9,d,z\r\n'
COLUMNS = ("--text", "Body", "--id", "Nr")


def test_csv_in_is_csv_out_with_the_answers_beside_the_rows(run_request: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(CSV)
    assert run_request("--file", str(source), "--out", str(out), *COLUMNS) == 3, "one text fails"
    whole = out.read_bytes()
    assert whole.startswith("\ufeffNr,Body,Note,triage_category,triage_confidence".encode())
    rows = table(out)
    assert [(row["Nr"], row["Note"], row["triage_route"], row["triage_error"]) for row in rows] == [
        ("7", "x", 'a\r\n"b", c', ""),
        ("8", "y", "", "not_utf8"),
        ("9", "z", "d", ""),
    ]
    assert rows[0]["Body"] == 'a\r\n"b", c'
    assert rows[0]["triage_needs_human"] == "false"
    assert run_request("--file", str(source), "--out", str(out), *COLUMNS) == 3
    assert out.read_bytes() == whole


@pytest.mark.parametrize("cut", [0, 2, 20, 200, 210, 260, 330, 400, 500])
def test_a_table_continues_after_its_last_complete_row(
    run_request: Run, responder: Responder, tmp_path: Path, cut: int
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(CSV)
    assert run_request("--file", str(source), "--out", str(out), *COLUMNS) == 3
    whole = out.read_bytes()
    out.write_bytes(whole[:cut])
    assert run_request("--file", str(source), "--out", str(out), *COLUMNS) == 3
    assert out.read_bytes() == whole


def test_a_table_of_another_input_is_not_continued(
    run_request: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(CSV)
    run_request("--file", str(source), "--out", str(out), *COLUMNS)
    source.write_bytes(CSV.replace(b"9,d,z", b"9,e,z"))
    assert run_request("--file", str(source), "--out", str(out), *COLUMNS) == 2
    assert "does not belong to this input (row 3 differs)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "id;text\n1;größe\n".encode("cp1252"), ["--delimiter", ";", "--encoding", "cp1252"]),
        ("a.txt", "id\ttext\n1\tgröße\n".encode("utf-16"), ["--format", "tsv", "--encoding", "utf-16"]),
        ("a.csv.gz", gzip.compress("id,text\n1,größe\n".encode(), mtime=0), []),
        ("a.tsv", "id\ttext\r1\tgröße\r".encode(), []),
        ("a.JSONL", '\ufeff{"id": 1, "text": "größe"}\n'.encode(), []),
        (
            "a.jsonl",
            '{"ticket": 1, "body": "größe", "options": 7}\n'.encode(),
            ["--text", "body", "--id", "ticket"],
        ),
    ],
)
def test_dialects(run_request: Run, tmp_path: Path, name: str, content: bytes, options: list[str]) -> None:
    source, out = tmp_path / name, tmp_path / "out.jsonl"
    source.write_bytes(content)
    assert run_request("--file", str(source), "--out", str(out), *options) == 0
    assert [(line["id"], line["output"]["route"]) for line in lines(out)] == [("1", "größe")]


def test_a_mistake_in_the_last_line_of_csv_stops_before_the_first_is_sent(
    run_request: Run, responder: Responder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id,text\n" + "1,a\n" * 500 + "2,Hello, world\n")
    assert run_request("--file", str(source), "--out", str(tmp_path / "out.jsonl")) == 2
    assert "line 502 has 3 cells, and the header has 2" in capsys.readouterr().err
    assert responder.texts == []


def test_one_bad_line_of_json_fails_alone(run_request: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    bad = [
        '{"text": "a", "text": "b"}',
        '{"text": NaN}',
        '{"text": "\\ud800"}',
        '["a"]',
        '{"text": "a\0"}',
        "{" * 5_000,
    ]
    source.write_bytes("\n".join(['{"text": "x"}', *bad, '{"text": "y"}']).encode() + b'\n{"text": "\xff"}\n')
    assert run_request("--file", str(source), "--out", str(out)) == 3
    assert routes(out) == ["x", *["not_json"] * 3, "wrong_type", *["not_json"] * 2, "y", "not_utf8"]
    assert "'text' twice" in lines(out)[1]["message"]
    assert "--encoding cp1252" in lines(out)[-1]["message"]


@pytest.mark.parametrize(
    ("name", "out", "content", "sentence"),
    [
        ("a.txt", "out.csv", "a\n", "is CSV, and the input is not: name it .jsonl"),
        ("a.csv", "out.csv.gz", "text\na\n", "--out is written as JSON Lines or CSV"),
        ("a.csv", "out.XLSX", "text\na\n", "--out is written as JSON Lines or CSV"),
        ("a.csv", "out.csv", "text,triage_category\na,b\n", "has a column 'triage_category' already"),
    ],
)
def test_tables_that_cannot_be(
    run_request: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    out: str,
    content: str,
    sentence: str,
) -> None:
    (tmp_path / name).write_text(content)
    assert run_request("--file", str(tmp_path / name), "--out", str(tmp_path / out)) == 2
    assert sentence in capsys.readouterr().err


def test_a_text_from_standard_input_that_is_not_utf8(
    run_request: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntw\xf6\n")))
    assert run_request("-") == 2
    assert "Standard input is not UTF-8: line 2 has the byte 0xF6 (offset 6)" in capsys.readouterr().err


def test_clean_is_an_option_of_the_request(run_request: Run, responder: Responder) -> None:
    assert run_request("a", "--clean", "mail") == 0
    assert responder.requests[0].options == {"clean": "mail"}
