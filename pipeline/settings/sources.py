"""Where settings come from: a TOML file, environment variables, options."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Struct, structs

from ..config import Config
from ..errors import UsageError
from ..rows.decoding import read_text

VARIABLE_PREFIX: Final = "INFERSTREAM"
TABLES: Final[dict[str, type[Struct]]] = {one.name: one.type for one in structs.fields(Config)}
NAMES: Final[dict[str, list[str]]] = {
    table: [one.name for one in structs.fields(kind)] for table, kind in TABLES.items()
}


class Given(NamedTuple):
    """The value of a setting, and where it was given: words with which a sentence can begin."""

    value: object
    origin: str


Givens = dict[str, Given]
"""Values by ``table.name``."""


def setting_variables() -> dict[str, str]:
    """The environment variable of each setting, with its ``table.name``."""
    return {
        f"{VARIABLE_PREFIX}_{table}_{name}".upper(): f"{table}.{name}"
        for table, names in NAMES.items()
        for name in names
    }


def from_file(path: Path) -> Givens:
    """The settings of a TOML file. Raises UsageError for a file or a name that is wrong."""
    try:
        tables = msgspec.toml.decode(read_text(path, f"the settings file {path}"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"The settings file {path} is not TOML: {error}.") from error
    givens = {}
    for table, values in tables.items():
        if table not in TABLES:
            raise UsageError(f"The settings file {path} has {_no_table(table)}")
        if not isinstance(values, dict):
            raise UsageError(f"{table} in {path} is no table: write its settings below [{table}].")
        for name, value in values.items():
            if name not in NAMES[table]:
                raise UsageError(f"The settings file {path} has {_no_setting(table, name)}")
            givens[f"{table}.{name}"] = Given(value, f"{table}.{name} in {path}")
    return givens


def from_variables(environment: Mapping[str, str]) -> Givens:
    """The settings of variables such as INFERSTREAM_KAFKA_PASSWORD; empty ones count as absent."""
    return {
        path: Given(_typed(path, environment[variable]), f"the variable {variable}")
        for variable, path in setting_variables().items()
        if environment.get(variable)
    }


def _typed(path: str, text: str) -> object:
    """The text of a variable as a value; as it is where it does not fit, for the check of values to refuse."""
    table, _, name = path.partition(".")
    kind = get_type_hints(TABLES[table], include_extras=True)[name]
    value: object = text
    if "list" in str(kind):
        kind, value = list[int] if "int" in str(get_args(kind)) else list[str], text.replace(",", " ").split()
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return value


def _no_table(table: str) -> str:
    near = get_close_matches(table, TABLES, n=1)
    home = [owner for owner, names in NAMES.items() if table in names]
    if home:
        return f"{table!r} outside of its table: write it below [{home[0]}]."
    return f"no table of settings {table!r}: {_choice(near, TABLES)}"


def _no_setting(table: str, name: str) -> str:
    near = get_close_matches(name, NAMES[table], n=1)
    home = [owner for owner, names in NAMES.items() if name in names]
    if not near and home:
        return f"{name!r} in the table [{table}]: it belongs in [{home[0]}]."
    return f"no setting {table}.{name}: {_choice(near, NAMES[table])}"


def _choice(near: list[str], known: Iterable[str]) -> str:
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
