"""`inferstream topics` on a real Kafka."""

import json

import pytest

from inferstream.pipeline.cli.main import run


def test_topics_are_created_and_listed(
    kafka: str, unique: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["topics", "triage", "--kafka", kafka, "--topic-prefix", unique, "--json"]

    def rows(*more: str) -> list[tuple[str, int | None, str]]:
        assert run([*arguments, *more]) == 0
        printed = capsys.readouterr()
        assert "compacted" not in printed.err
        table = json.loads(printed.out)
        return [
            (row["topic"].removeprefix(f"{unique}.triage."), row["partitions"], row["state"]) for row in table
        ]

    names = ("requests", "replies", "cancels", "dead-letters", "labels", "members", "retry.1s", "retry.30s")
    partitions = {name: 1 if name == "members" else 3 for name in names}
    assert rows("--list") == [(name, None, "missing") for name in names]
    assert rows("--partitions", "3") == [(name, partitions[name], "made") for name in names]
    there = [(name, partitions[name], "there") for name in names]
    assert rows("--partitions", "3") == there
    assert rows("--list") == there
    assert rows() == there, "without --partitions any number is accepted"
    assert run([*arguments, "--partitions", "5"]) == 1
    assert "has 3 of 5 partitions" in capsys.readouterr().err
    monkeypatch.setenv("INFERSTREAM_TOPICS_PARTITIONS", "4")
    assert run(arguments) == 1
    assert "has 3 of 4 partitions" in capsys.readouterr().err
