"""`inferstream tasks`: the tasks of this installation, and their types."""

import click
import msgspec

from ....schemas.json_schema import json_schema, types_of
from ....schemas.messages import Request
from ...config import Config
from ...errors import UsageError
from ...tasks.catalogue import tasks
from ...tasks.chains.declared import chains_of
from ..groups import SuggestingGroup
from ..options.settings import with_settings
from ..output.tables import print_table

COLUMNS = {"task": "TASK", "package": "PACKAGE", "model": "DEFAULT MODEL", "options": "OPTIONS"}

STEPS = {"steps": "STEPS"}


@click.group("tasks", cls=SuggestingGroup)
def command() -> None:
    """List the tasks of this installation, and print their JSON Schema.

    Installed packages can bring tasks, by the entry point `inferstream.tasks`.

    \b
      inferstream tasks list
      inferstream tasks schema triage
      inferstream tasks schema triage output
    """


@command.command("list")
@with_settings(kafka=False)
@click.option("--json", "as_json", is_flag=True, help="Print the tasks as JSON.")
def list_tasks(config: Config, as_json: bool) -> None:
    """List each task with its package, the model of its settings' defaults, and the options of a request.

    Then the chains in the settings, with their steps.

    Tasks that cannot be used are told on standard error.
    """
    catalogue = tasks()
    rows = [
        {
            "task": name,
            "package": catalogue.package_of(name),
            "model": getattr(definition.settings(), "model", None),
            "options": list(definition.contract.options.__struct_encode_fields__),
        }
        for name in catalogue.names
        if (definition := catalogue.known(name))
    ]
    chains = chains_of(config).values()
    rows += [{"task": one.name, "options": [], "steps": [step.task for step in one.steps]} for one in chains]
    print_table(rows, COLUMNS | (STEPS if chains else {}), as_json=as_json)
    for problem in catalogue.problems():
        click.echo(problem, err=True)


@command.command("schema")
@click.argument("task")
@click.argument("kind", required=False, metavar="[KIND]")
def schema(task: str, kind: str | None) -> None:
    """Print the JSON Schema of what TASK reads and writes.

    KIND is request, options, output or piece; without it, an object with all of them.
    """
    types = {"request": Request, **types_of(tasks().find(task).contract)}
    if kind is not None and kind not in types:
        raise UsageError(f"The task {task!r} has no {kind!r}; there is: {', '.join(types)}.")
    schemas = {name: json_schema(one) for name, one in types.items()}
    click.echo(msgspec.json.format(msgspec.json.encode(schemas[kind] if kind else schemas), indent=2))
