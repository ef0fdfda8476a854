"""Where settings come from: a TOML file, environment variables, options."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Struct, structs

from ..config import ChainConfig, Config
from ..errors import UsageError
from ..rows.decoding import read_text

VARIABLE_PREFIX: Final = "INFERSTREAM"
Tables = Mapping[str, type[Struct]]
"""The type of each table by its name."""

CHAINS: Final = "chains"
"""The table whose settings are tables themselves, one for each chain."""

OWN_TABLES: Final[Tables] = {
    one.name: one.type for one in structs.fields(Config) if one.name not in (CHAINS, "tasks")
}
"""The tables of `Config` but the chains. Those of tasks are handed in beside them."""


class Given(NamedTuple):
    """The value of a setting, and where it was given: words with which a sentence can begin."""

    value: object
    origin: str


Givens = dict[str, Given]
"""Values by ``table.name``."""


def names_of(kind: type[Struct]) -> list[str]:
    """The names of the settings of a table."""
    return [one.name for one in structs.fields(kind)]


def table_prefix(table: str) -> str:
    """What the variables of a table begin with: INFERSTREAM_KAFKA_ for ``kafka``."""
    return f"{VARIABLE_PREFIX}_{table}_".upper().replace("-", "_")


def setting_variables(tables: Tables) -> dict[str, str]:
    """The environment variable of each setting, with its ``table.name``."""
    return {
        f"{table_prefix(table)}{name.upper()}": f"{table}.{name}"
        for table, kind in tables.items()
        for name in names_of(kind)
    }


def from_file(path: Path, known: Tables, skipped: Collection[str] = ()) -> Givens:
    """The settings of a TOML file, without the tables that are ``skipped``.

    Raises UsageError for a file or a name that is wrong.
    """
    try:
        tables = msgspec.toml.decode(read_text(path, f"the settings file {path}"), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"The settings file {path} is not TOML: {error}.") from error
    givens = {}
    for table, values in tables.items():
        if table in skipped:
            continue
        if table not in known and table != CHAINS:
            raise UsageError(f"The settings file {path} has {_no_table(table, known)}")
        if not isinstance(values, dict):
            raise UsageError(f"{table} in {path} is no table: write its settings below [{table}].")
        names = values.keys() if table == CHAINS else names_of(known[table])
        for name, value in values.items():
            if name not in names:
                raise UsageError(f"The settings file {path} has {_no_setting(table, name, known)}")
            givens[f"{table}.{name}"] = Given(value, f"{table}.{name} in {path}")
    return givens


def from_variables(environment: Mapping[str, str], tables: Tables) -> Givens:
    """The settings of variables such as INFERSTREAM_KAFKA_PASSWORD; empty ones count as absent."""
    return {
        path: Given(_typed(type_of(path, tables), environment[variable]), f"the variable {variable}")
        for variable, path in setting_variables(tables).items()
        if environment.get(variable)
    }


def type_of(path: str, tables: Tables) -> Any:
    """The type of the setting ``table.name``, with what is annotated."""
    table, _, name = path.partition(".")
    if table == CHAINS:
        return ChainConfig
    return get_type_hints(tables[table], include_extras=True)[name]


def _typed(kind: Any, text: str) -> object:
    """The text of a variable as a value; as it is where it does not fit, for the check of values to refuse."""
    value: object = text
    if "list" in str(kind) or "tuple" in str(kind):
        kind, value = list[int] if "int" in str(get_args(kind)) else list[str], text.replace(",", " ").split()
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return value


def _no_table(table: str, known: Tables) -> str:
    near = get_close_matches(table, [*known, CHAINS], n=1)
    home = _homes(table, known)
    if home:
        return f"{table!r} outside of its table: write it below [{home[0]}]."
    return f"no table of settings {table!r}: {_choice(near, known)}"


def _no_setting(table: str, name: str, known: Tables) -> str:
    names = names_of(known[table])
    near = get_close_matches(name, names, n=1)
    home = _homes(name, known)
    if not near and home:
        return f"{name!r} in the table [{table}]: it belongs in [{home[0]}]."
    return f"no setting {table}.{name}: {_choice(near, names)}"


def _homes(name: str, known: Tables) -> list[str]:
    """The tables that have a setting of this name."""
    return [table for table, kind in known.items() if name in names_of(kind)]


def _choice(near: list[str], known: Iterable[str]) -> str:
    return f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}."
