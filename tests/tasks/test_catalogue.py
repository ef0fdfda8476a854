"""Tasks of packages: found by their entry point, checked; one that is broken leaves the others alone."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import pytest

from inferstream.pipeline.cli.main import SUMMARIES
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.catalogue import OURS, TaskCatalogue, tasks
from inferstream.pipeline.tasks.checking import RESERVED
from inferstream.schemas.contract import Contract
from inferstream.schemas.tasks import CONTRACTS


class Options(msgspec.Struct):
    loud: bool = False


class Output(msgspec.Struct):
    said: str


class NoNumber(msgspec.Struct):
    model: str = "tiny"
    most: Annotated[int, msgspec.Meta(ge=1)] = 0


class NoText(msgspec.Struct):
    model: str | None = None


class Positions(msgspec.Struct, array_like=True):
    loud: bool = False


class Unresolved(msgspec.Struct):
    rate: "int | NotThere" = 1  # type: ignore[name-defined]  # noqa: F821


class Settings(msgspec.Struct):
    model: str = "tiny"


class Whole:
    name = "sentiment"
    contract = Contract(Options, Output)
    settings = Settings

    def load(self, registry: Any, model_name: str, settings: Any) -> Any:
        raise NotImplementedError


def variant(**attributes: Any) -> type:
    return type("Variant", (Whole,), attributes)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An imported module, in which entry points find what a test puts there."""
    made = ModuleType("a_package_of_tasks")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def at(name: str, attribute: str, module: str = "a_package_of_tasks") -> EntryPoint:
    return EntryPoint(name, f"{module}:{attribute}", "inferstream.tasks")


def test_our_tasks_are_known_with_their_contracts() -> None:
    assert {one.name: one.contract for one in OURS} == CONTRACTS
    assert tasks().names[: len(OURS)] == [one.name for one in OURS]
    assert all(tasks().package_of(one.name) == "inferstream" for one in OURS)


def test_a_class_and_an_object_are_tasks(module: ModuleType) -> None:
    module.__dict__.update(kind=Whole, thing=variant(name="other")())
    catalogue = TaskCatalogue(OURS, [at("sentiment", "kind"), at("other", "thing")])
    assert isinstance(catalogue.find("sentiment"), Whole)
    assert catalogue.find("sentiment") is catalogue.find("sentiment")
    assert catalogue.find("other").settings is Settings
    assert list(catalogue.problems()) == []


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"name": "mood"}, "has the `name` 'mood', which must be that of its entry point"),
        ({"contract": None}, "has no `contract`"),
        ({"contract": Contract(Options, Output, request=dict)}, "is not a subclass of Request"),  # type: ignore[arg-type]
        ({"contract": Contract(dict, Output)}, "has no `contract.options`"),  # type: ignore[arg-type]
        ({"contract": Contract(Output, Output)}, "`contract.options` without a default for said"),
        ({"settings": None}, "has no `settings`"),
        ({"settings": Output}, "`settings` without a default for said"),
        ({"settings": Options}, "`settings` without a field `model`"),
        ({"settings": NoText}, "whose `model` is no text by default"),
        ({"settings": NoNumber}, "whose defaults are not accepted (Expected `int` >= 1 - at `$.most`)"),
        ({"contract": Contract(Positions, Output)}, "`contract.options` whose defaults are not accepted"),
        ({"contract": Contract(Options, Output, pieces=3)}, "whose `pieces` is no function"),  # type: ignore[arg-type]
        ({"load": None}, "has no method `load`"),
        ({"contract": Contract(Options, object)}, "has a type of its output that cannot be used"),
        (
            {"contract": Contract(Unresolved, Output)},
            "cannot be loaded (NameError: name 'NotThere' is not defined)",
        ),
    ],
)
def test_a_definition_that_lacks_something_is_one_sentence(
    module: ModuleType, attributes: dict[str, Any], sentence: str
) -> None:
    module.__dict__.update(kind=variant(**attributes), good=variant(name="good"))
    catalogue = TaskCatalogue(OURS, [at("sentiment", "kind"), at("good", "good")])
    with pytest.raises(UsageError) as raised:
        catalogue.find("sentiment")
    assert sentence in str(raised.value)
    assert str(raised.value).startswith("The task 'sentiment' of the package ")
    assert list(catalogue.problems()) == [str(raised.value)]
    assert catalogue.known("sentiment") is None
    assert catalogue.find("good").name == "good"
    assert catalogue.find(OURS[0].name) is OURS[0]


def test_a_module_that_cannot_be_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tasks.py").write_text("import a_module_that_is_not_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = TaskCatalogue(OURS, [at("sentiment", "kind", "broken_tasks")])
    with pytest.raises(UsageError, match=r"cannot be loaded \(ModuleNotFoundError: No module named"):
        catalogue.find("sentiment")


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "def :", "class E(BaseException): ...\nraise E"])
def test_a_module_that_ends_the_program_or_is_no_python_is_one_sentence(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ending_tasks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ending_tasks", raising=False)
    catalogue = TaskCatalogue(OURS, [at("sentiment", "kind", "ending_tasks")])
    with pytest.raises(UsageError, match="'sentiment' of the package ending_tasks:kind cannot be loaded"):
        catalogue.find("sentiment")


@pytest.mark.parametrize("name", ["kafka", "worker", "tasks", "Loud", "a b", "a_b", "x" * 51, "-a"])
def test_a_name_that_would_be_ambiguous_is_refused(module: ModuleType, name: str) -> None:
    module.__dict__["kind"] = variant(name=name)
    with pytest.raises(UsageError, match="has a name that a task cannot have"):
        TaskCatalogue(OURS, [at(name, "kind")]).find(name)


def test_all_commands_and_no_task_of_ours_are_reserved() -> None:
    ours = {one.name for one in OURS}
    assert SUMMARIES.keys() - ours <= RESERVED
    assert not ours & RESERVED


def test_of_two_packages_with_one_task_neither_is_used(module: ModuleType) -> None:
    module.__dict__.update(one=Whole, two=Whole)
    catalogue = TaskCatalogue(OURS, [at("sentiment", "one"), at("sentiment", "two")])
    with pytest.raises(UsageError, match=r"in the packages .* and .*: uninstall all but one"):
        catalogue.find("sentiment")


def test_a_package_does_not_replace_a_task_of_ours(module: ModuleType) -> None:
    module.__dict__["kind"] = variant(name=OURS[0].name)
    catalogue = TaskCatalogue(OURS, [at(OURS[0].name, "kind")])
    assert catalogue.find(OURS[0].name) is OURS[0]
    assert catalogue.names == [one.name for one in OURS]
    assert "has the name of one of ours" in next(iter(catalogue.problems()))


def test_an_unknown_task_suggests_a_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'triage'"):
        tasks().find("triag")
    with pytest.raises(UsageError, match="there is: triage"):
        tasks().find("xyzzy")
