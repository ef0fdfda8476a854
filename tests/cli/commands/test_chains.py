"""Chains of the settings in commands: listed, their topics made, their mistakes told."""

import json
from pathlib import Path

import pytest

from inferstream.pipeline.cli.main import run

SETTINGS = """
[chains.triage-embed]
steps = ["triage", {task = "embed", text = "{output.category}: {text}"}]
"""


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return str(path)


def test_chains_are_listed_behind_the_tasks(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "list", "--config", settings, "--json"]) == 0
    *tasks, chain = json.loads(capsys.readouterr().out)
    assert chain == {"task": "triage-embed", "options": [], "steps": ["triage", "embed"]}
    assert all("steps" not in task for task in tasks)
    assert run(["tasks", "list"]) == 0
    assert "STEPS" not in capsys.readouterr().out


def test_topics_of_all_steps_are_made(
    kafka: str, unique: str, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["topics", "triage-embed", "--kafka", kafka, "--topic-prefix", unique, "--json"]
    assert run([*arguments, "--config", settings, "--partitions", "3"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["topic"].removeprefix(f"{unique}.triage-embed.") for row in rows] == [
        "requests",
        "replies",
        "cancels",
        "dead-letters",
        "members",
        "retry.1s",
        "retry.30s",
        "step-2.requests",
        "step-2.members",
        "step-2.retry.1s",
        "step-2.retry.30s",
    ]
    assert {row["state"] for row in rows} == {"made"}
    assert {row["partitions"] for row in rows if not row["topic"].endswith(".members")} == {3}
    assert {row["topic"]: row["purpose"] for row in rows}[f"{unique}.triage-embed.step-2.requests"] == (
        "requests of step 2, embed"
    )
    assert run(arguments) == 2, "without its settings there is no such chain"
    assert "There is no task 'triage-embed'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["worker", "request", "topics", "audit"])
def test_a_mistake_in_a_chain_is_one_sentence_in_every_command(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[chains.c]\nsteps = ["triage", "embed"]\n')
    more = ["a text"] if command == "request" else []
    assert run([command, "c", *more, "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert (
        "Step 2 of the chain 'c' is asked '{output.text}', but the answer of the step before has no field"
        in error
    )
    assert "Traceback" not in error


def test_models_are_for_a_task_of_a_chain(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["worker", "triage-embed", "--config", settings, "--embedded", str(tmp_path / "queue")]
    assert run([*words, "--model", "none-such"]) == 2
    assert "say which one the model is for, as in --model triage:none-such" in capsys.readouterr().err
    assert run([*words, "--model", "translate:none-such"]) == 2
    assert "The model none-such is for 'translate', which is not served" in capsys.readouterr().err
