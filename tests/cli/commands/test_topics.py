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
        table = json.loads(capsys.readouterr().out)
        return [
            (row["topic"].removeprefix(f"{unique}.triage."), row["partitions"], row["state"]) for row in table
        ]

    names = ("requests", "replies", "cancels", "dead-letters", "retry.1s", "retry.30s")
    assert rows("--list") == [(name, None, "missing") for name in names]
    assert rows("--partitions", "3") == [(name, 3, "made") for name in names]
    assert rows("--partitions", "3") == [(name, 3, "there") for name in names]
    assert rows() == [(name, 3, "there") for name in names], "without --partitions any number is accepted"
    assert run([*arguments, "--partitions", "5"]) == 1
    assert "has 3 of 5 partitions" in capsys.readouterr().err
    monkeypatch.setenv("INFERSTREAM_TOPICS_PARTITIONS", "4")
    assert run(arguments) == 1
    assert "has 3 of 4 partitions" in capsys.readouterr().err
