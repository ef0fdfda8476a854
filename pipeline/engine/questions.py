"""Reads jobs: which model answers, what its task makes of the request, and the content key."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import ModelElsewhere
from ..tasks.base import Task, resumes
from .cache.keys import content_key, content_prefix
from .device import Device
from .job import Job

MAX_SHOWN: Final = 20
"""Characters of an option's value in a sentence."""


class ModelEntry(NamedTuple):
    """A task with one model, and the device it runs on. Several entries may share one device."""

    task: Task
    device: Device


class Choices(NamedTuple):
    """The checked options of a request, all of its content key except the content, and `Task.repeats`."""

    options: Any
    prefix: bytes
    repeats: bool


Question = tuple[ModelEntry, Any, Choices, bytes]
"""A job, resolved: who answers it, what its task has read, its options, and its content key.

Plain, since one is made for each request: a named tuple takes 0.2 µs more.
"""


class JobReader:
    """Reads the jobs of all tasks of an engine."""

    def __init__(self, models: Mapping[str, Mapping[str, ModelEntry]]) -> None:
        """``models`` by task and name; the first of a task is its default."""
        self._models = models
        self._by_options: dict[str, list[ModelEntry]] = {}
        # Choices of requests without options and tenant, as most are, by task and model; by None the default.
        self._plain: dict[str, dict[str | None, tuple[ModelEntry, Choices]]] = {}
        for task, of_task in models.items():
            known = {name: (entry, _choices(entry.task, {}, "")) for name, entry in of_task.items()}
            self._plain[task] = {None: next(iter(known.values()))}
            self._plain[task].update(known)
            if any(entry.task.chosen_by for entry in of_task.values()):
                self._by_options[task] = list(dict.fromkeys(of_task.values()))

    def names(self, task: str) -> Collection[str]:
        """The names of models that the task answers for."""
        return self._models.get(task, {}).keys()

    def resumes(self, task: str) -> bool:
        """Whether the task goes on behind pieces that were told before."""
        return any(resumes(entry.task) for entry, _ in self._plain.get(task, {}).values())

    def read(self, job: Job) -> Question:
        """Raises ModelElsewhere, UnknownOption, WrongType, or another BadRequest of the task."""
        request = job.request
        known = self._plain[job.task].get(job.model)
        if known is None:
            raise self._elsewhere(job)
        entry, choices = known
        task = entry.task
        if request.options or job.tenant:
            if job.model is None and job.task in self._by_options:
                entry = self._chosen(job)
                task = entry.task
            choices = _choices(task, request.options, job.tenant)
        content = task.read(request)
        return entry, content, choices, content_key(choices.prefix, content)

    def _chosen(self, job: Job) -> ModelEntry:
        """The first model that the options choose. Raises ModelElsewhere."""
        entries = self._by_options[job.task]
        names = dict.fromkeys(name for entry in entries for name in entry.task.chosen_by)
        given = job.request.options
        asked = {name: given[name] for name in names if given.get(name) is not None}
        for entry in entries:
            if all(entry.task.chosen_by.get(name) == value for name, value in asked.items()):
                return entry
        if not all(isinstance(value, str) for value in asked.values()):
            return entries[0]  # its task says which type is wrong
        there = [entry.task for entry in entries if entry.task.chosen_by]
        known = "; ".join(f"{_listed(task.chosen_by)} ({task.model})" for task in there)
        raise ModelElsewhere(
            f"There is no model for {_listed(asked)} here; this worker has: {known}. Only another worker of its "
            "group could have it."
        )

    def _elsewhere(self, job: Job) -> ModelElsewhere:
        return ModelElsewhere(
            f"There is no model {job.model!r} here; this worker serves {', '.join(self._models[job.task])}. Only "
            "another worker of its group could have it."
        )


def _listed(options: Mapping[str, str]) -> str:
    """``source 'en' and target 'pt'``."""
    return " and ".join(f"{name} {value[:MAX_SHOWN]!r}" for name, value in options.items())


def _choices(task: Task, given: Mapping[str, Any], tenant: str) -> Choices:
    """The checked options, and every part of the content key except the content."""
    checked = task.options(given)
    prefix = content_prefix(tenant, task.digest, task.name, msgspec.json.encode(checked))
    return Choices(checked, prefix, task.repeats(checked))
