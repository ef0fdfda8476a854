"""The code of a task that loads a model: what is wrong with it is one sentence with the task and the line."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.echo import Echo

from inferstream.pipeline.errors import UnknownModel
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.tasks.catalogue import BrokenTask
from inferstream.pipeline.tasks.definition import Loaded
from inferstream.pipeline.tasks.loading import loaded_model, made_model, made_task

MANIFEST = Manifest("tiny", "", "", "", "", "", "", "", 32, 8, 0, 1, "", "")


class Definition:
    name = "echo"
    contract: Any = None
    settings: Any = None

    def __init__(self, load: Callable[..., Any]) -> None:
        self.load = load


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


def an_echo(**attributes: Any) -> Echo:
    task = Echo()
    for name, value in attributes.items():
        setattr(task, name, value)
    return task


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (raising(ZeroDivisionError("x")), "cannot load the model 'tiny' (ZeroDivisionError: x, in line "),
        (raising(SystemExit(3)), "(SystemExit: 3, in line "),
        (lambda: None, "(TypeError: "),
        (lambda *_: None, "`load` must return Loaded(manifest, make)"),
        (lambda *_: (1, 2), "`load` must return Loaded(manifest, make)"),
        (lambda *_: Loaded(MANIFEST, None), "`load` must return Loaded(manifest, make)"),  # type: ignore[arg-type]
    ],
)
def test_a_load_that_fails_or_returns_something_else(load: Callable[..., Any], sentence: str) -> None:
    with pytest.raises(BrokenTask) as raised:
        loaded_model(Definition(load), ModelRegistry(), "tiny", None)
    assert str(raised.value).startswith("The task 'echo' cannot be served, since ")
    assert sentence in str(raised.value)


def test_the_line_is_one_of_the_package_and_not_of_a_library_below() -> None:
    with pytest.raises(BrokenTask, match=r"JSONDecodeError: .* of .*test_loading\.py\)"):
        loaded_model(Definition(lambda *_: json.loads("{")), ModelRegistry(), "tiny", None)


def test_a_model_that_is_not_here_stays_that_error() -> None:
    with pytest.raises(UnknownModel):
        loaded_model(Definition(raising(UnknownModel("no"))), ModelRegistry(), "tiny", None)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (None, "has no method options, repeats, read, further_steps, prepare, tell, finish"),
        (an_echo(finish=None), "has no method finish"),
        (an_echo(name="other"), "has the name 'other'"),
        (an_echo(model=None), "has no `model`, which must be str"),
        (an_echo(digest="abc"), "has no `digest`, which must be bytes"),
        (an_echo(options=raising(KeyError("x"))), "(KeyError: 'x', in line "),
        (an_echo(options=lambda _: object()), "(TypeError: Encoding objects of type object is unsupported"),
        (an_echo(repeats=raising(KeyError("x"))), "(KeyError: 'x', in line "),
    ],
)
def test_a_task_that_lacks_something_or_refuses_no_options(task: Any, sentence: str) -> None:
    with pytest.raises(BrokenTask) as raised:
        made_task("echo", Loaded(MANIFEST, lambda graph: task), FakeSession())
    assert sentence in str(raised.value)


def test_a_model_is_an_encoder_or_has_all_of_its_parts() -> None:
    graph = FakeSession()
    assert isinstance(made_model("echo", Loaded(MANIFEST, lambda graph: Echo()), graph), Encoder)
    makes: list[Callable[..., Any]] = [lambda graph: object(), raising(KeyError("x"))]
    for make in makes:
        with pytest.raises(BrokenTask, match="cannot be served"):
            made_model("echo", Loaded(MANIFEST, lambda graph: Echo(), make), graph)
