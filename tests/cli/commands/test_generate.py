"""`inferstream request generate`: a text, or the JSON of a conversation."""

import csv
from pathlib import Path

import pytest
from support.decoder_home import TINY, with_decoder

from inferstream.pipeline.cli.commands.request import _content
from inferstream.pipeline.cli.main import run
from inferstream.schemas.generation import ChatMessage, GenerateRequest
from inferstream.schemas.messages import Request


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("Once upon a time", "Once upon a time"),
        (
            ' {"messages": [{"role": "user", "content": "a"}]}',
            GenerateRequest(messages=[ChatMessage("user", "a")]),
        ),
        ('{"text": "a", "id": "b"}', GenerateRequest(text="a", id="b")),
        ('{"name": "a"}', '{"name": "a"}'),
        ('{"name": ', '{"name": '),
        ('{"text": 7}', '{"text": 7}'),
        ("{}", "{}"),
    ],
)
def test_what_is_no_request_is_a_text(given: str, asked: Request | str) -> None:
    assert _content("generate", given) == asked


def test_a_text_of_another_task_is_never_a_request() -> None:
    assert _content("triage", '{"text": "a"}') == '{"text": "a"}'


def test_a_table_of_excel_gets_the_texts_beside_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    with_decoder(tmp_path)
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes('id;text\r\n1;Größe\r\n2;"zwei\r\nZeilen; und ""Zitat"""\r\n3;\r\n'.encode("cp1252"))
    how = ["--delimiter", ";", "--encoding", "cp1252", "--model", TINY, "--max-tokens", "5"]
    assert run(["request", "generate", "--file", str(source), *how, "--out", str(out)]) == 3
    rows = list(csv.DictReader(out.read_bytes().decode("utf-8-sig").splitlines(keepends=True), delimiter=";"))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert rows[1]["text"] == 'zwei\r\nZeilen; und "Zitat"'
    assert all(rows[index]["generate_text"] for index in (0, 1))
    assert '"generated_tokens":5' in rows[0]["generate_usage"]
    assert [row["generate_error"] for row in rows] == ["", "", "blank_text"]
