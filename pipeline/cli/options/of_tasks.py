"""Commands whose options depend on the tasks that their arguments name."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from ...tasks.catalogue import tasks
from ...tasks.definition import TaskDefinition
from .fields import field_options
from .variables import LateOptions

MODELS: Final = ("model", "models", "tenants")
"""Settings of a task that have no option of their own: `--model`, which may be repeated, selects models;
tenants have theirs in a file."""

ADDED: Final = f"{__name__}.added"
OPTION: Final = "option:"
"""What the names of parameters begin with that are options of a request."""


class TaskCommand(LateOptions):
    """Reads its arguments twice: first to know the tasks, then with the options that these bring."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = [found for name in dict.fromkeys(self._words(args)) if (found := tasks().known(name))]
        added = list(self.options_of(named))
        self.name_late(added)
        ctx.meta[ADDED] = added
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, last = super().get_params(ctx)  # the last one is --help
        return [*own, *ctx.meta.get(ADDED, ()), last]

    @abstractmethod
    def options_of(self, named: Sequence[TaskDefinition]) -> Iterator[click.Option]:
        """The options that these tasks bring. ``named`` may have words of the command line that mean no task."""

    @property
    def own_names(self) -> set[str]:
        """The names of the options that the command has for each task."""
        return {name for one in self.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}

    def _words(self, args: Sequence[str]) -> Iterator[str]:
        """The arguments that are neither options nor the values of our own ones."""
        with_value = {
            name
            for one in self.params
            if isinstance(one, click.Option) and not (one.is_flag or one.count)
            for name in one.opts
        }
        words = iter(args)
        for word in words:
            if word == "--":
                yield from words
            elif word in with_value:
                next(words, None)
            elif not word.startswith("-"):
                yield word


class OptionsCommand(TaskCommand):
    """Has the options of a request to the task that its first argument names."""

    def options_of(self, named: Sequence[TaskDefinition]) -> Iterator[click.Option]:
        for one in named[:1]:
            yield from field_options(one.contract.options, OPTION, prefix=one.name, taken=self.own_names)


class SettingsCommand(TaskCommand):
    """Has the settings of each task that it names, except its models: `--model` selects them."""

    def options_of(self, named: Sequence[TaskDefinition]) -> Iterator[click.Option]:
        for one in named:
            others = {name for other in named if other is not one for name in _names(other)}
            yield from field_options(
                one.settings, f"{one.name}.", prefix=one.name, taken=self.own_names | others, but=MODELS
            )


def task_options(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the request that are given, by their names in its body; and the other parameters."""
    given = {
        name.removeprefix(OPTION): value for name, value in parameters.items() if name.startswith(OPTION)
    }
    others = {name: value for name, value in parameters.items() if not name.startswith(OPTION)}
    return {name: value for name, value in given.items() if value is not None}, others


def _names(definition: TaskDefinition) -> set[str]:
    return {one.opts[0] for one in field_options(definition.settings, "", prefix="", but=MODELS)}
