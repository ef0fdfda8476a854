"""An answer in the terminal: as its task shows it; a task that cannot show it does not hide it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.cli.output import answers
from inferstream.pipeline.client.replies import Answer
from inferstream.pipeline.tasks.catalogue import TaskCatalogue
from inferstream.schemas.contract import Contract
from inferstream.schemas.messages import Result, Timings


class Settings(msgspec.Struct):
    model: str = "tiny"


class Shown:
    name = "shown"
    contract = Contract(Settings, dict)
    settings = Settings

    def __init__(
        self, show: Callable[[Any], Any] | None = None, line: Callable[[Any], Any] | None = None
    ) -> None:
        self.show = show
        self.line = line

    def load(self, registry: Any, model_name: str, settings: Any) -> Any:
        raise NotImplementedError


def fails(_: Any) -> Any:
    raise ValueError("no")


def answer() -> Answer[Any]:
    output = {"said": "hi"}
    reply = Result(
        "a",
        "shown",
        "m",
        "1",
        msgspec.Raw(msgspec.json.encode(output)),
        cache="off",
        timings=Timings(0, 0, 0, 0, 0),
    )
    return Answer(output, reply)


@pytest.mark.parametrize(
    ("show", "shown", "told"),
    [
        (lambda output: f"He said [b]{output['said']}", "He said [b]hi", ""),
        (
            fails,
            '"said": "hi"',
            "The task 'shown' cannot show its answer, since `show` raised ValueError: no.",
        ),
        (lambda output: 3, '"said": "hi"', "`show` returned a value of the type int."),
    ],
)
def test_an_answer_is_shown_whatever_show_does(
    show: Callable[[Any], Any],
    shown: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalogue = TaskCatalogue([Shown(show)], [])
    monkeypatch.setattr(answers, "tasks", lambda: catalogue)
    answers.print_answer(answer())
    printed = capsys.readouterr()
    assert shown in printed.out
    assert told in printed.err


@pytest.mark.parametrize(
    ("line", "shown", "told"),
    [
        (lambda output: f"He said\r\n{output['said']}", "He said hi", ""),
        (None, '{"said":"hi"}', ""),
        (fails, '{"said":"hi"}', "since `line` raised ValueError: no."),
        (lambda output: 3, '{"said":"hi"}', "`line` returned a value of the type int."),
    ],
)
def test_an_answer_is_one_line_whatever_line_does(
    line: Callable[[Any], Any] | None,
    shown: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalogue = TaskCatalogue([Shown(line=line)], [])
    monkeypatch.setattr(answers, "tasks", lambda: catalogue)
    assert answers.answer_line(answer()) == shown
    assert told in capsys.readouterr().err
