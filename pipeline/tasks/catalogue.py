"""The tasks that are known by name: ours, and those that installed packages bring by an entry point."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from ...schemas.contract import Contract
from ..errors import UsageError
from .checking import faults
from .classify.definition import ClassifyDefinition
from .definition import TaskDefinition
from .embed.definition import EmbedDefinition
from .generate.definition import GenerateDefinition
from .translate.definition import TranslateDefinition
from .triage.definition import TriageDefinition

OURS: Final[tuple[TaskDefinition, ...]] = (
    TriageDefinition(),
    EmbedDefinition(),
    ClassifyDefinition(),
    TranslateDefinition(),
    GenerateDefinition(),
)
ENTRY_POINTS: Final = "inferstream.tasks"


class BrokenTask(UsageError):
    """A task of a package that cannot be used; the sentence names both."""


class TaskCatalogue:
    """Finds tasks by name. A package is imported when its task is asked for, and once."""

    def __init__(self, ours: Iterable[TaskDefinition], installed: Iterable[EntryPoint]) -> None:
        self._ours = {one.name: one for one in ours}
        self._installed: dict[str, list[EntryPoint]] = {}
        for entry_point in installed:
            self._installed.setdefault(entry_point.name, []).append(entry_point)
        self._found: dict[str, TaskDefinition | BrokenTask] = {}

    def include(self, definition: TaskDefinition) -> None:
        """Know one task more, as one of ours: of a lab, which no installation has."""
        self._ours[definition.name] = definition

    @property
    def names(self) -> list[str]:
        """The names of all tasks, also of those that cannot be used: ours, then the others by name."""
        return [*self._ours, *sorted(self._installed.keys() - self._ours.keys())]

    def find(self, name: str) -> TaskDefinition:
        """The task ``name``. Raises BrokenTask, or UsageError if there is none."""
        if name in self._ours:
            return self._ours[name]
        if name not in self._installed:
            near = get_close_matches(name, self.names, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(self.names)}."
            raise UsageError(f"There is no task {name!r}; {known}")
        if name not in self._found:
            self._found[name] = _load(self._installed[name])
        found = self._found[name]
        if isinstance(found, BrokenTask):
            raise found
        return found

    def known(self, name: str) -> TaskDefinition | None:
        """The task ``name``; None if there is none, or if it cannot be used. Clients ask for each request."""
        if name not in self._ours and name not in self._installed:
            return None
        try:
            return self.find(name)
        except UsageError:
            return None

    def package_of(self, name: str) -> str:
        """The package that brings the task."""
        return "inferstream" if name in self._ours else _package(self._installed[name][0])

    def subject(self, name: str) -> str:
        """The task and its package, for a sentence about them."""
        own = name in self._ours or name not in self._installed
        return f"The task {name!r}" if own else _subject(self._installed[name][0])

    def problems(self) -> Iterator[str]:
        """A sentence for each task of a package that cannot be used."""
        for name, found in sorted(self._installed.items()):
            if name in self._ours:
                for one in found:
                    yield f"{_subject(one)} has the name of one of ours, which is used instead: rename it."
            elif self.known(name) is None:
                yield str(self._found[name])


@cache
def tasks() -> TaskCatalogue:
    """The tasks of this installation."""
    return TaskCatalogue(OURS, entry_points(group=ENTRY_POINTS))


def contract_of(name: str) -> Contract | None:
    """The contract of the task; None for a task that is not installed here."""
    definition = tasks().known(name)
    return definition.contract if definition else None


def _load(found: list[EntryPoint]) -> TaskDefinition | BrokenTask:
    """The definition at the only entry point of its name."""
    first, *others = found
    if others:
        packages = " and ".join(sorted({_package(one) for one in found}))
        return BrokenTask(f"The task {first.name!r} is in the packages {packages}: uninstall all but one.")
    try:
        loaded = first.load()
        definition: TaskDefinition = loaded() if isinstance(loaded, type) else loaded
        fault = next(faults(first.name, definition), None)
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # the code of a package may raise anything, and end the program with SystemExit
        reason = " ".join(str(error).split())[:200]
        return BrokenTask(
            f"{_subject(first)} cannot be loaded ({type(error).__name__}: {reason}): repair or uninstall the package."
        )
    if fault:
        return BrokenTask(f"{_subject(first)} {fault}: repair or uninstall the package.")
    return definition


def _package(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else entry_point.value


def _subject(entry_point: EntryPoint) -> str:
    return f"The task {entry_point.name!r} of the package {_package(entry_point)}"
