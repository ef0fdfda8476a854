"""Reads jobs: which model answers, what its task makes of the request, and the content key."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import ModelElsewhere, listed
from ..tasks.base import Task, resumes
from .by_tenant import ByTenant
from .cache.keys import content_key, content_prefix
from .job import Job
from .model_entry import Chooser, ModelEntry, Served, entries_of

MAX_SHOWN: Final = 20
"""Characters of an option's value in a sentence."""


class Choices(NamedTuple):
    """The checked options of a request, all of its content key except the content, and `Task.repeats`."""

    options: Any
    prefix: bytes
    repeats: bool


Question = tuple[ModelEntry, Any, Choices, bytes]
"""A job, resolved: who answers it, what its task has read, its options, and its content key.

Plain, since one is made for each request: a named tuple takes 0.2 µs more.
"""


class TaskModels:
    """The models of one task by name; the first is its default."""

    def __init__(self, models: Mapping[str, Served]) -> None:
        self.names = list(models)
        self.entries = list(
            dict.fromkeys(entry for served in models.values() for entry in entries_of(served))
        )
        # Choices of requests without options and tenant, as most are.
        self._plain_choices = {entry: _choices(entry.task, {}, "") for entry in self.entries}
        named: list[tuple[str | None, Served]] = [(None, next(iter(models.values()))), *models.items()]
        self.plain = {
            name: (served, self._plain_choices[served])
            for name, served in named
            if isinstance(served, ModelEntry)
        }
        """By name, and by None the default: those names that stand for one entry."""
        self.choosers = {name: served for name, served in named if not isinstance(served, ModelEntry)}
        self.by_options: Sequence[Served] = ()
        """What the options of a request choose among; empty if they choose nothing."""
        if any(entry.task.chosen_by for entry in self.entries):
            self.by_options = list({id(served): served for served in models.values()}.values())

    def chosen(self, job: Job) -> tuple[ModelEntry, Choices] | None:
        """What answers the job whose model's name stands for several entries; None if there is no such name."""
        chooser = self.choosers.get(job.model)
        return None if chooser is None else self.with_choices(chooser.choose(job))

    def with_choices(self, entry: ModelEntry) -> tuple[ModelEntry, Choices]:
        """The entry and the choices of a request without options; also of one that is served no more."""
        return entry, self._plain_choices.get(entry) or _choices(entry.task, {}, "")


class JobReader:
    """Reads the jobs of all tasks of an engine."""

    def __init__(self, models: Mapping[str, Mapping[str, Served]]) -> None:
        """``models`` by task and name; the first of a task is its default."""
        self._tasks = {task: TaskModels(of_task) for task, of_task in models.items()}

    def exchange(self, task: str, models: Mapping[str, Served]) -> None:
        """Read the jobs of the task for these models from now on."""
        self._tasks[task] = TaskModels(models)

    def entries(self, task: str) -> Sequence[ModelEntry]:
        """All entries of the task."""
        return self._tasks[task].entries

    def names(self, task: str) -> Collection[str]:
        """The names of models that the task answers for."""
        return self._tasks[task].names if task in self._tasks else ()

    def chooser(self, job: Job) -> Chooser | None:
        """What chooses among several entries under the name that the job asks for; for its tenant, if tenants have
        models of their own.
        """
        found = self._tasks[job.task].choosers.get(job.model)
        served = found.served(job) if isinstance(found, ByTenant) else found
        # Whether something is a `Chooser` is not asked here: of a protocol that takes 8 µs, for each request.
        return None if isinstance(served, ModelEntry) else served

    def choosers(self, task: str) -> Collection[Chooser]:
        """What chooses among several entries under a name of the task; several names may share one."""
        found = self._tasks[task].choosers.values() if task in self._tasks else ()
        return [one for chooser in found for one in _single(chooser)]

    def resumes(self, task: str) -> bool:
        """Whether the task goes on behind pieces that were told before."""
        return task in self._tasks and any(resumes(entry.task) for entry in self.entries(task))

    def read(self, job: Job, pinned: ModelEntry | None = None) -> Question:
        """Raises ModelElsewhere, UnknownOption, WrongType, or another BadRequest of the task.

        ``pinned``: the entry that answers, whatever the job asks for.
        """
        request = job.request
        models = self._tasks[job.task]
        if pinned is None:
            known = models.plain.get(job.model) or models.chosen(job)
            if known is None:
                raise _elsewhere(job, models)
        else:
            known = models.with_choices(pinned)
        entry, choices = known
        task = entry.task
        if request.options or job.tenant:
            if job.model is None and models.by_options and pinned is None:
                entry = _chosen(job, models.by_options)
                task = entry.task
            choices = _choices(task, request.options, job.tenant)
        content = task.read(request)
        return entry, content, choices, content_key(choices.prefix, content)


def _single(chooser: Chooser) -> Sequence[Chooser]:
    return chooser.choosers if isinstance(chooser, ByTenant) else (chooser,)


def _chosen(job: Job, models: Sequence[Served]) -> ModelEntry:
    """The first model that the options choose. Raises ModelElsewhere."""
    by_options = [(entries_of(served)[0].task.chosen_by, served) for served in models]
    names = dict.fromkeys(name for chosen_by, _ in by_options for name in chosen_by)
    given = job.request.options
    asked = {name: given[name] for name in names if given.get(name) is not None}
    for chosen_by, served in by_options:
        if all(chosen_by.get(name) == value for name, value in asked.items()):
            return _one_of(served, job)
    if not all(isinstance(value, str) for value in asked.values()):
        return _one_of(models[0], job)  # its task says which type is wrong
    there = dict.fromkeys(
        f"{_pairs(chosen_by)} ({entries_of(served)[0].task.model})"
        for chosen_by, served in by_options
        if chosen_by
    )
    raise ModelElsewhere(
        f"There is no model for {_pairs(asked)} here; this worker has: {'; '.join(there)}. Only another worker of its "
        "group could have it."
    )


def _one_of(served: Served, job: Job) -> ModelEntry:
    return served if isinstance(served, ModelEntry) else served.choose(job)


def _elsewhere(job: Job, models: TaskModels) -> ModelElsewhere:
    return ModelElsewhere(
        f"There is no model {job.model!r} here; this worker serves {listed(models.names)}. Only "
        "another worker of its group could have it."
    )


def _pairs(options: Mapping[str, str]) -> str:
    """``source 'en' and target 'pt'``."""
    return " and ".join(f"{name} {value[:MAX_SHOWN]!r}" for name, value in options.items())


def _choices(task: Task, given: Mapping[str, Any], tenant: str) -> Choices:
    """The checked options, and every part of the content key except the content."""
    checked = task.options(given)
    prefix = content_prefix(tenant, task.digest, task.name, msgspec.json.encode(checked))
    return Choices(checked, prefix, task.repeats(checked))
