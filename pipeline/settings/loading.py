"""All settings of a command: an option overrides a variable, which overrides the settings file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..config import Config
from .addresses import parse_addresses
from .sources import TABLES, Givens, from_file, from_variables
from .validation import check


def load_config(
    path: Path | None,
    options: Givens | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """The settings in ``path``, overridden by variables, then by ``options``; defaults for the rest.

    Raises UsageError that names the wrong setting and where it was given.
    """
    givens: Givens = from_file(path) if path else {}
    givens |= from_variables(environment)
    givens |= options or {}
    check(givens)
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for name, given in givens.items():
        table, _, setting = name.partition(".")
        tables[table][setting] = given.value
    if "kafka.bootstrap" in givens:
        tables["kafka"]["bootstrap"] = parse_addresses(str(givens["kafka.bootstrap"].value))
    return msgspec.convert(tables, Config)
