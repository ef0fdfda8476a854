"""Options that a command has from the tasks it names: a request from the contract, a worker from the settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

import click
import msgspec
import pytest
from msgspec import Meta

from inferstream.pipeline.cli.main import cli, run
from inferstream.pipeline.cli.options.fields import field_options
from inferstream.pipeline.cli.options.of_tasks import task_options
from inferstream.pipeline.tasks.catalogue import OURS


class Kinds(msgspec.Struct):
    """All kinds of fields.

    Attributes:
        loud: whether it is loud.
        rate: the rate
            of it.
    """

    loud: bool = True
    rate: Annotated[float, Meta(ge=0, le=2)] = 1.5
    count: int | None = None
    name: Annotated[str, Meta(max_length=3)] | None = None
    way: Literal["up", "down"] = "up"
    words: list[str] = []
    json: str = ""


def parsed(*words: str) -> dict[str, Any]:
    options = list(field_options(Kinds, "k:", prefix="kinds", taken={"--json"}))
    context = click.Command("c", params=list(options)).make_context("c", list(words))
    return {name: value for name, value in context.params.items() if value is not None}


def test_each_field_is_an_option_of_its_type() -> None:
    words = [
        "--no-loud",
        "--rate",
        "0.5",
        "--count",
        "3",
        "--name",
        "abc",
        "--way",
        "down",
        "--words",
        '["a"]',
    ]
    assert parsed(*words, "--kinds-json", "x") == {
        "k:loud": False,
        "k:rate": 0.5,
        "k:count": 3,
        "k:name": "abc",
        "k:way": "down",
        "k:words": ["a"],
        "k:json": "x",
    }
    assert parsed() == {}, "what is not given is left to the worker"


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "3"],
        ["--count", "x"],
        ["--way", "left"],
        ["--words", "[1]"],
        ["--words", "x"],
        ["--json", "x"],
    ],
)
def test_a_value_of_another_type_is_refused(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parsed(*words)


def test_the_help_is_the_docstring_of_the_field() -> None:
    by_name = {one.name: one.help for one in field_options(Kinds, "", prefix="")}
    assert by_name["loud"] == "Whether it is loud.  [default: yes]"
    assert by_name["rate"] == "The rate of it.  [default: 1.5]"
    assert by_name["words"] == ""


def context_of(command: str, *words: str) -> click.Context:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    # click keeps the option --help of the first context
    return found.make_context(command, list(words), help_option_names=["-h", "--help"])


@pytest.mark.parametrize("task", [one.name for one in OURS])
def test_the_options_of_each_task_are_those_of_its_contract(task: str) -> None:
    context = context_of("request", task, "text")
    given, others = task_options({**context.params, "other": 1})
    assert given == {}
    assert others["task"] == task
    names = {name for name in context.params if name.startswith("option:")}
    contract = next(one.contract for one in OURS if one.name == task)
    assert names == {f"option:{name}" for name in contract.options.__struct_fields__}


def test_a_word_that_is_the_value_of_an_option_names_no_task() -> None:
    context = context_of("request", "--tenant", "embed", "triage", "text", "--threshold", "0.7")
    assert task_options(context.params)[0] == {"threshold": 0.7}
    context = context_of("request", "--threshold=0.7", "triage", "embed")
    assert task_options(context.params)[0] == {"threshold": 0.7}


def test_an_option_of_a_task_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTREAM_REQUEST_RUNNERS_UP", "5")
    assert task_options(context_of("request", "triage", "text").params)[0] == {"runners_up": 5}
    assert task_options(context_of("request", "embed", "text").params)[0] == {}


def test_a_misspelled_variable_of_an_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_REQUEST_RUNERS_UP", "5")
    assert run(["request", "triage", "text"]) == 2
    assert "did you mean INFERSTREAM_REQUEST_RUNNERS_UP?" in capsys.readouterr().err


def test_a_worker_has_the_settings_of_its_tasks_and_they_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = context_of("worker", "embed", "triage")
    assert {name for name in context.params if "." in name} == {
        "triage.threshold",
        "triage.taxonomy",
        "triage.shadow",
        "triage.fitted_bytes",
    }
    assert run(["worker", "triage", "--taxonomy", str(tmp_path / "none"), "--embedded", str(tmp_path)]) == 2
    assert f"Cannot read the taxonomy {tmp_path / 'none'}" in capsys.readouterr().err
    assert run(["worker", "embed", "--taxonomy", "x", "--embedded", str(tmp_path)]) == 2
    assert "No such option: --taxonomy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["triage", "embed", "--model", "minilm"],
            "say which one the model is for, as in --model triage:minilm",
        ),
        (["triage", "--model", "embed:minilm"], "The model minilm is for 'embed', which is not served"),
        (["triage", "embed", "--group", "g"], "A group is for one task"),
        (["triage", "nothing"], "There is no task 'nothing'"),
    ],
)
def test_several_tasks_of_a_worker_need_clear_words(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["worker", *words, "--embedded", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
