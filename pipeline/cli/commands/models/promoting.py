"""`models promote` and `models rollback`: what workers serve under an alias."""

from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from ....config import Config
from ....errors import UsageError
from ...options.registry import REGISTRY
from ...options.settings import setting, with_settings
from ...output.pull_progress import pull_progress
from ...output.releases import state_in_words
from .shared import as_json

if TYPE_CHECKING:
    from ....models.releases.alias import AliasState, Mode, Rollout
    from ....models.releases.names import ReleaseName

TRIAGE: Final = "triage"
TAXONOMY: Final = (
    setting(
        f"{TRIAGE}.taxonomy",
        "--taxonomy",
        type=click.Path(),
        help="TOML file with the taxonomy of a release of triage.  [default: that of the settings, else the built-in "
        "example]",
    ),
)
GUARDED_SHARE: Final = 0.1
RATE = click.FloatRange(0, 1, min_open=True)


@click.command()
@click.argument("name")
@click.argument("alias", required=False)
@click.option(
    "--canary",
    type=RATE,
    metavar="SHARE",
    help="Let it answer this share of the keys, beside the stable version.",
)
@click.option(
    "--shadow", type=RATE, metavar="SHARE", help="Compare it on this share of the requests; it never answers."
)
@click.option(
    "--guarded",
    is_flag=True,
    help="As --canary, but where the two differ the stable version's answer is sent, until enough agree.  [share: 0.1]",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="When the candidate is rolled back by itself: error_rate, latency, disagreement, accuracy, agreement.",
)
@click.option("--finish", is_flag=True, help="Make the candidate of the alias NAME its stable version.")
@click.option(
    "--force",
    is_flag=True,
    help="Also if it was not measured, or did not pass its gate; release and history say so for ever.",
)
@click.option("--reason", default="", help="Why; the history says it.")
@with_settings(REGISTRY, TAXONOMY, kafka=False)
@as_json
def promote(name: str, alias: str | None, config: Config, as_json: bool, **given: Any) -> None:
    """Let workers serve NAME under ALIAS.

    NAME is a model of this machine, which is published if the registry does not have it, or TASK@VERSION, or another
    TASK@ALIAS. ALIAS is TASK@ALIAS, or an alias alone where only one task can serve the model. Workers that serve
    the alias load the new version beside the old one, and exchange them while they run. A release of triage brings
    its taxonomy: give the one that a fit was given.

    \b
      inferstream models promote shop triage@prod
      inferstream models promote shop triage@prod --canary 0.2 --reason "fitted on July"
      inferstream models promote shop triage@prod --taxonomy my.toml
      inferstream models promote triage@prod --finish
      inferstream models promote triage@0123456789ab prod
    """
    from ....models.releases.names import parse_release_name
    from ....models.releases.registry.promoting import Promoter, change_now
    from ....ops.releases.finding import ReleaseFinder
    from ....optimize.recipes.lineage import with_recorded_steps

    rollout = _rollout(given)
    brings_taxonomy = click.get_current_context().params["taxonomy"] is not None
    with pull_progress() as progress:
        finder = ReleaseFinder(config, progress, with_recorded_steps)
        if brings_taxonomy and "@" in name:
            raise UsageError(f"--taxonomy is for models of this machine: {name} has that of its release.")
        if given["finish"]:
            if alias or rollout:
                raise UsageError(
                    "--finish takes the alias alone: inferstream models promote TASK@ALIAS --finish."
                )
            target = finder.target(name, name)
            state = Promoter(finder.store).finish(target, change_now(given["reason"]))
        else:
            if alias is None:
                raise UsageError(
                    "Say what to promote and where to: inferstream models promote NAME TASK@ALIAS. The candidate of an "
                    "alias is promoted with --finish."
                )
            target = finder.target(alias, name)
            if brings_taxonomy and target.task != TRIAGE:
                raise UsageError(f"--taxonomy is for releases of {TRIAGE}, and {target} is none.")
            if "@" in name:
                release = finder.named(parse_release_name(name))
                _check_task(release.task, target)
            else:
                release = finder.publish(name, target.task, force=given["force"])
            change = change_now(given["reason"], forced=bool(release.gate and release.gate.forced))
            state = Promoter(finder.store).promote(target, release.version, change, rollout)
    _print(target, state, as_json)


@click.command()
@click.argument("alias")
@click.option(
    "--to",
    "version",
    metavar="VERSION",
    help="This version; without it the candidate is dropped, or the version before returns.",
)
@click.option("--reason", default="", help="Why; the history says it.")
@with_settings(REGISTRY, kafka=False)
@as_json
def rollback(alias: str, version: str | None, reason: str, config: Config, as_json: bool) -> None:
    """Take back the last change of an alias, TASK@ALIAS.

    A candidate on trial is dropped. Without one, the version before the stable one is stable again. Another rollback
    goes back further.

    \b
      inferstream models rollback triage@prod
      inferstream models rollback triage@prod --to 0123456789ab --reason "too many refunds"
    """
    from ....models.releases.names import is_release_name, parse_release_name
    from ....models.releases.registry.promoting import Promoter, change_now
    from ....ops.releases.finding import ReleaseFinder
    from ....optimize.recipes.lineage import with_recorded_steps

    with pull_progress() as progress:
        finder = ReleaseFinder(config, progress, with_recorded_steps)
        if not is_release_name(alias):
            raise UsageError(f"{alias[:100]!r} is no alias of a task: write TASK@ALIAS, as triage@prod.")
        target = finder.target(alias, alias)
        if version and is_release_name(version):
            version = parse_release_name(version).version
        state = Promoter(finder.store).roll_back(target, change_now(reason), version)
    _print(target, state, as_json)


def _rollout(given: dict[str, Any]) -> "Rollout | None":
    from ....models.releases.alias import Rollout
    from ....rollouts.limits import RolloutLimits

    canary, shadow, guarded = given["canary"], given["shadow"], given["guarded"]
    if shadow and (canary or guarded):
        raise UsageError(
            "A candidate is tried in one way: give --canary, with or without --guarded, or --shadow."
        )
    limits = {name: _number(value) for name, _, value in (one.partition("=") for one in given["limits"])}
    known = msgspec.structs.fields(RolloutLimits)
    if unknown := sorted(limits.keys() - {field.name for field in known}):
        raise UsageError(
            f"There is no limit {unknown[0]!r}; there is: {', '.join(field.name for field in known)}."
        )
    share = shadow or canary or (GUARDED_SHARE if guarded else None)
    if share is None:
        if limits:
            raise UsageError("--limit is for a rollout: give --canary, --guarded or --shadow too.")
        return None
    mode: Mode = "shadow" if shadow else "guarded" if guarded else "canary"
    return Rollout(mode, share, RolloutLimits(**limits))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text[:50]!r} is no number: write --limit NAME=VALUE, as latency=1.5.") from None


def _check_task(task: str, target: "ReleaseName") -> None:
    if task != target.task:
        raise UsageError(f"A release of {task} cannot be served as {target}.")


def _print(target: "ReleaseName", state: "AliasState", as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(state), indent=2))
    else:
        click.echo(state_in_words(target, state))
