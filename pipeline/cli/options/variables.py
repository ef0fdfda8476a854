"""The environment variables of options: INFERSTREAM_COMMAND_OPTION, with the option's long name."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

import click

from ...errors import UsageError
from ...settings.sources import setting_variables, table_prefix
from ...tasks.settings import all_tables

PREFIX: Final = "INFERSTREAM"
NEAR: Final = 0.81
"""Similarity of a misspelled name. TRIAGE_FIT_TAXONOMY, an option of a command, has 0.80 with TRIAGE_TAXONOMY."""

SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")
SERVICE_VARIABLE: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)")


def name_variables(command: click.Command, name: str) -> None:
    """Let each option of ``command`` and of its subcommands be read from its variable, and from no other.

    A variable of a setting, as of the task that has the command's name, stays the setting's: the option has none.

    Raises UsageError for a variable that is set and looks like a misspelling of one of them.
    """
    of_settings = setting_variables(all_tables())
    variables = dict(_variables(command, f"{PREFIX}_{_upper(name)}"))
    for variable in variables.keys() & of_settings.keys():
        variables.pop(variable).allow_from_autoenv = False
    _name(variables)
    if isinstance(command, LateOptions):
        command.variables = variables
        command.variable_prefix = f"{PREFIX}_{_upper(name)}"
    else:
        _refuse_unknown(f"{PREFIX}_{_upper(name)}_", variables)


class LateOptions(click.Command):
    """A command that has further options once its arguments are known, and their variables from then on."""

    variables: Mapping[str, click.Option] = {}
    variable_prefix = ""

    def name_late(self, options: Iterable[click.Option]) -> None:
        """Let each of these options be read from its variable. Raises UsageError as `name_variables` does."""
        late = {f"{self.variable_prefix}_{_upper(long_name(option))}": option for option in options}
        _name(late)
        _refuse_unknown(f"{self.variable_prefix}_", {**self.variables, **late})


def _name(variables: Mapping[str, click.Option]) -> None:
    for variable, option in variables.items():
        option.allow_from_autoenv = False
        # Kubernetes sets NAME_PORT=tcp://10.0.0.1:6066 in every pod for a Service called `name`.
        option.envvar = None if SERVICE_ADDRESS.match(os.environ.get(variable, "")) else variable
        # Until 0.1 the variable had the name of the parameter in the code: do not ignore it now.
        former = variable.removesuffix(_upper(long_name(option))) + str(option.name).upper()
        if former in os.environ and former not in variables:
            raise UsageError(f"No option has the variable {former}: set {variable}.")


def _refuse_unknown(prefix: str, variables: Mapping[str, object]) -> None:
    tables = all_tables()
    settings = setting_variables(tables)
    prefixes = set(map(table_prefix, tables))
    _refuse_misspelled({prefix, *prefixes}, {**settings, **variables})


def blame_variable(error: click.BadParameter) -> None:
    """Let the error name what gave the wrong value: the option, or its variable."""
    option, context = error.param, error.ctx
    if not isinstance(option, click.Option) or context is None:
        return
    error.param_hint = origin_of(context, option)


def origin_of(context: click.Context, option: click.Option) -> str:
    """Where the option's value was given, in words: the option, or its variable."""
    from_variable = context.get_parameter_source(str(option.name)) is click.core.ParameterSource.ENVIRONMENT
    name = long_name(option)
    return f"the variable {option.envvar} (for {name})" if from_variable else name


def long_name(option: click.Option) -> str:
    """The first of the option's names that begins with two hyphens."""
    return next(name for name in option.opts if name.startswith("--"))


def _variables(command: click.Command, prefix: str) -> Iterator[tuple[str, click.Option]]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield f"{prefix}_{_upper(long_name(parameter))}", parameter
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _variables(inner, f"{prefix}_{_upper(name)}")


def _upper(name: str) -> str:
    return name.removeprefix("--").replace("-", "_").upper()


def _refuse_misspelled(prefixes: Iterable[str], known: Mapping[str, object]) -> None:
    """Raises UsageError for a variable with such a prefix that is not known and nearly has a known name."""
    for prefix in prefixes:
        near = {name.removeprefix(prefix): name for name in known if name.startswith(prefix)}
        for name in sorted(os.environ):
            if name.startswith(prefix) and name not in known and not SERVICE_VARIABLE.fullmatch(name):
                _refuse_if_near(name, name.removeprefix(prefix), near)


def _refuse_if_near(name: str, wanted: str, near: Mapping[str, str]) -> None:
    if positive := near.get(wanted.removeprefix("NO_")):
        raise UsageError(f"No option has the variable {name}: set {positive}=0.")
    if found := get_close_matches(wanted, near, n=1, cutoff=NEAR):
        raise UsageError(f"No option has the variable {name}: did you mean {near[found[0]]}?")
