"""`inferstream tasks`: a list, and the JSON Schema of each type."""

import json
from pathlib import Path

import pytest

import inferstream.schemas
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.tasks.catalogue import OURS, tasks
from inferstream.schemas.json_schema import types_of

COMMITTED = Path(inferstream.schemas.__file__).parent / "v1"


def test_all_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in rows][: len(OURS)] == [one.name for one in OURS]
    assert rows[0]["model"] == "minilm-int8"
    assert "threshold" in rows[0]["options"]


@pytest.mark.parametrize("task", [one.name for one in OURS])
def test_the_schema_of_a_task_is_the_committed_one(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "schema", task]) == 0
    schemas = json.loads(capsys.readouterr().out)
    own = types_of(tasks().find(task).contract)
    assert schemas.keys() == {"request", *own}
    for kind in own:
        assert schemas[kind] == json.loads((COMMITTED / f"{task}-{kind}.json").read_bytes())
        assert run(["tasks", "schema", task, kind]) == 0
        assert json.loads(capsys.readouterr().out) == schemas[kind]
    if "request" not in own:
        assert schemas["request"] == json.loads((COMMITTED / "request.json").read_bytes())


def test_an_unknown_task_or_kind_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "schema", "xyzzy"]) == 2
    assert "There is no task 'xyzzy'" in capsys.readouterr().err
    assert run(["tasks", "schema", "triage", "piece"]) == 2
    assert "has no 'piece'; there is: request, options, output." in capsys.readouterr().err
