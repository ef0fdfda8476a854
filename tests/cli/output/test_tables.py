"""Tables: chosen columns as text, whole rows as JSON."""

import json
from pathlib import Path

import pytest

from inferstream.pipeline.cli.output.tables import print_table

ROWS = [
    {
        "name": "minilm-int8",
        "size": 23_000_000.0,
        "share": 0.98765,
        "fast": True,
        "path": Path("/m/int8.onnx"),
    },
    {"name": "minilm-fp32 [bold]", "size": None, "share": 1.0, "fast": False, "path": Path("/m/fp32.onnx")},
]
COLUMNS = {"name": "model", "size": "bytes", "share": "agreement", "fast": "fast"}


def test_a_table_has_the_given_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ROWS, COLUMNS, as_json=False)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["model", "bytes", "agreement", "fast"]
    assert lines[0].split() == ["minilm-int8", "23,000,000", "0.988", "yes"]
    assert lines[1].split() == ["minilm-fp32", "[bold]", "1", "no"]
    assert heading.index("bytes") + len("bytes") == lines[0].index("000,000") + len("000,000")


def test_json_has_the_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ROWS, COLUMNS, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert rows == [{**row, "path": str(row["path"])} for row in ROWS]


def test_long_cells_are_not_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"text": "word " * 60 + "end"}], {"text": "ticket"}, as_json=False)
    assert capsys.readouterr().out.splitlines()[1].endswith("word end")


def test_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], COLUMNS, as_json=True)
    print_table([], COLUMNS, as_json=False)
    assert capsys.readouterr().out.startswith("[]\n")
