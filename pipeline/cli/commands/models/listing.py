"""`models list` and `models show`: the models on this machine, and the releases in the registry."""

from typing import TYPE_CHECKING

import click
import msgspec

from ....config import Config
from ...options.registry import REGISTRY
from ...options.settings import with_settings
from ...output.fitted_models import fitted_row, fitted_rows, print_fitted_model, print_fitted_models
from ...output.models import print_models, row_of
from ...output.releases import (
    HISTORY,
    RELEASES,
    print_aliases,
    print_fields,
    print_release,
    release_rows,
    state_in_words,
    state_row,
)
from ...output.tables import print_table
from .shared import as_json

if TYPE_CHECKING:
    from ....models.manifest import Manifest
    from ....models.registry import ModelRegistry
    from ....tasks.triage.head import HeadStore

IN_WORDS = frozenset(
    (
        "agreement",
        "score_agreement",
        "independence",
        "fidelity",
        "steadiness",
        "lineage",
        "judgements",
        "gate",
    )
)
"""Fields of a manifest that are told in words by others."""


@click.command("list")
@click.argument("task", metavar="[TASK@]", default="")
@with_settings(REGISTRY, kafka=False)
@as_json
def list_models(task: str, config: Config, as_json: bool) -> None:
    """List models, fitted models and aliases.

    With TASK@, list the releases and aliases of a task; with @, those of all.

    \b
      inferstream models list
      inferstream models list triage@
    """
    if task:
        _list_releases(task, config, as_json)
        return
    from ....models.registry import ModelRegistry
    from ....tasks.triage.head import HeadStore

    registry = ModelRegistry(judged=False)
    manifests, fitted = registry.list(), list(fitted_rows(HeadStore(registry.root.parent)))
    if as_json:
        print_table([*map(row_of, manifests), *fitted], {}, as_json=True)
        return
    if not manifests and not fitted:
        click.echo("There are no models yet: run `inferstream models pull minilm`.")
    if manifests:
        print_models(manifests, as_json=False)
    if fitted:
        print_fitted_models(fitted)
    from ....models.releases.registry.opening import open_registry

    print_aliases(open_registry(config.registry.url, limit_s=config.registry.timeout_s))


def _list_releases(name: str, config: Config, as_json: bool) -> None:
    from ....errors import UsageError
    from ....models.releases.names import is_task_name
    from ....models.releases.registry.opening import open_registry

    task, sign, rest = name.partition("@")
    if not sign or rest or (task and not is_task_name(task)):
        raise UsageError(
            f"{name[:100]!r} is not a task with its sign: write triage@ for its releases, @ for all; one release is "
            "shown by `inferstream models show`."
        )
    store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
    rows = list(release_rows(store, task))
    if not rows and not as_json:
        of = f" of {task}" if task else ""
        click.echo(
            f"The registry {store.shown} has no releases{of} yet: see `inferstream models promote --help`."
        )
        return
    print_table(rows, RELEASES, as_json=as_json)
    if not as_json:
        print_aliases(store, task)


@click.command()
@click.argument("name")
@with_settings(REGISTRY, kafka=False)
@as_json
def show(name: str, config: Config, as_json: bool) -> None:
    """Show one model: source, limits, digests, agreement with float32.

    Also how much the company of a batch changes an answer. Of a fitted model: what answers, its accuracy, its encoder,
    its versions. Of a release, TASK@ALIAS or TASK@VERSION: its lineage,
    figures, gate and files; of an alias its history too.
    """
    if "@" in name:
        _show_release(name, config, as_json)
        return
    from ....models.registry import ModelRegistry
    from ....tasks.triage.head import HeadStore

    registry = ModelRegistry(judged=False)
    heads = HeadStore(registry.root.parent)
    fitted = heads.has(name)
    row = fitted_row(heads, name) if fitted else row_of(_manifest(registry, name, heads))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(row), indent=2))
        return
    if fitted:
        print_fitted_model(row)
        return
    shown = {
        field: value
        for field, value in row.items()
        if field not in IN_WORDS and value not in (None, "", (), [], {})
    }
    words = {"version": "build", "recipe": "builder"}
    print_fields(
        {words.get(field, field.replace("_", " ")): _in_words(field, value) for field, value in shown.items()}
    )


def _manifest(registry: "ModelRegistry", name: str, heads: "HeadStore") -> "Manifest":
    """Of a variant. Raises UnknownModel, which names the fitted models too; UsageError, ModelError."""
    from ....errors import UnknownModel, listed

    try:
        return registry.load(name)
    except UnknownModel as error:
        fitted = listed(heads.names())
        raise UnknownModel(f"{error} Fitted models: {fitted}." if fitted else str(error)) from error


def _show_release(name: str, config: Config, as_json: bool) -> None:
    from ....models.releases.names import parse_release_name
    from ....models.releases.registry.opening import open_registry

    store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
    asked = parse_release_name(name)
    history = store.history(asked.task, asked.alias) if asked.alias else []
    version = history[-1].stable if history else asked.version
    release = store.release(asked.task, version)
    if as_json:
        whole = {"version": version, "release": release, "history": history}
        click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=2))
        return
    if history:
        click.echo(f"{state_in_words(asked, history[-1])}\n")
    print_release(release)
    if history:
        click.echo("\nHistory, the newest first:")
        print_table([state_row(state) for state in reversed(history)], HISTORY, as_json=False)


def _in_words(field: str, value: object) -> object:
    if isinstance(value, list | tuple):
        return ("; " if field == "gates" else " ").join(map(str, value))
    return "" if value is None else value
