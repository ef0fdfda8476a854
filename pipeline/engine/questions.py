"""Reads jobs: which model answers, what its task makes of the request, and the content key."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ..errors import ModelElsewhere
from ..tasks.base import Ask, Task
from .cache.keys import content_key, content_prefix
from .device import Device
from .job import Job


class ModelEntry(NamedTuple):
    """A task with one model, and the device it runs on. Several entries may share one device."""

    task: Task
    device: Device


class Choices(NamedTuple):
    """The checked options of a request, all of its content key except the content, and `Task.repeats`."""

    options: Any
    prefix: bytes
    repeats: bool


class Question(NamedTuple):
    """A job, resolved: who answers it, what its task has read, its content key, and `Task.repeats`."""

    entry: ModelEntry
    ask: Ask
    key: bytes
    repeats: bool


class JobReader:
    """Reads the jobs of all tasks of an engine."""

    def __init__(self, models: Mapping[str, Mapping[str, ModelEntry]]) -> None:
        """``models`` by task and name; the first of a task is its default."""
        self._models = models
        self._defaults = {task: next(iter(of_task.values())) for task, of_task in models.items()}
        # Checked once: most requests have neither options nor a tenant.
        self._plain = {
            entry.task: _choices(entry.task, {}, "")
            for of_task in models.values()
            for entry in of_task.values()
        }

    def read(self, job: Job) -> Question:
        """Raises ModelElsewhere, UnknownOption, WrongType, or another BadRequest of the task."""
        entry = self._entry(job)
        task = entry.task
        given = job.request.options
        choices = _choices(task, given, job.tenant) if given or job.tenant else self._plain[task]
        content = task.read(job.request)
        return Question(
            entry, Ask(content, choices.options), content_key(choices.prefix, content), choices.repeats
        )

    def _entry(self, job: Job) -> ModelEntry:
        if not job.model:
            return self._defaults[job.task]
        models = self._models[job.task]
        entry = models.get(job.model)
        if entry is None:
            raise ModelElsewhere(
                f"There is no model {job.model!r} here; this worker serves {', '.join(models)}. Only another "
                "worker of its group could have it."
            )
        return entry


def _choices(task: Task, given: Mapping[str, Any], tenant: str) -> Choices:
    """The checked options, and every part of the content key except the content."""
    checked = task.options(given)
    prefix = content_prefix(tenant, task.digest, task.name, msgspec.json.encode(checked))
    return Choices(checked, prefix, task.repeats(checked))
