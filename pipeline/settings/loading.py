"""All settings of a command: an option overrides a variable, which overrides the settings file."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..config import Config
from .addresses import parse_addresses
from .sources import CHAINS, OWN_TABLES, Givens, Tables, from_file, from_variables
from .validation import check


def config_of(
    path: Path | None,
    options: Givens | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    of_tasks: Tables,
    skipped: Collection[str] = (),
) -> Config:
    """The settings in ``path``, overridden by variables, then by ``options``; defaults for the rest.

    ``of_tasks``: the tables of tasks, by the name of the task. Tables of the file that are ``skipped``
    are not read. Raises UsageError that names the wrong setting and where it was given.
    """
    known = {**OWN_TABLES, **of_tasks}
    givens: Givens = from_file(path, known, skipped) if path else {}
    givens |= from_variables(environment, known)
    givens |= options or {}
    check(givens, known)
    values: dict[str, dict[str, Any]] = {}
    for name, given in givens.items():
        table, _, setting = name.partition(".")
        values.setdefault(table, {})[setting] = given.value
    if "kafka.bootstrap" in givens:
        values["kafka"]["bootstrap"] = parse_addresses(str(givens["kafka.bootstrap"].value))
    own = {table: given for table, given in values.items() if table in (*OWN_TABLES, CHAINS)}
    tasks = {table: given for table, given in values.items() if table not in own}
    return msgspec.convert({**own, "tasks": tasks}, Config)
