"""The settings of this installation: our tables, and one for each task."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ..config import Config
from ..errors import UsageError
from ..settings.loading import config_of
from ..settings.sources import OWN_TABLES, Givens
from .catalogue import tasks
from .chains.declared import chains_of


def load_config(
    path: Path | None = None,
    options: Givens | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """The settings in ``path``, overridden by variables, then by ``options``; defaults for the rest.

    Each task of this installation has a table. That of a task that cannot be used is not read.
    Raises UsageError that names the wrong setting and where it was given.
    """
    of_tasks = task_tables()
    unusable = set(tasks().names) - of_tasks.keys()
    config = config_of(path, options, environment, of_tasks=of_tasks, skipped=unusable)
    try:
        chains_of(config)  # tells what is wrong with them
    except UsageError as error:
        raise UsageError(f"The settings file {path} is wrong. {error}") from error
    return config


def task_tables() -> dict[str, type[Struct]]:
    """The type of the settings of each task that can be used, by name."""
    found = ((name, tasks().known(name)) for name in tasks().names)
    return {name: definition.settings for name, definition in found if definition}


def all_tables() -> dict[str, type[Struct]]:
    """The types of all tables of the settings file."""
    return {**OWN_TABLES, **task_tables()}
