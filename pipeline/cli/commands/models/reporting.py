"""`models report`: whether a candidate is better than the stable version."""

import click

from ....config import Config
from ....errors import UsageError
from ...options.registry import REGISTRY
from ...options.settings import with_settings
from .shared import as_json


@click.command()
@click.argument("alias")
@with_settings(REGISTRY, kafka=False)
@as_json
def report(alias: str, config: Config, as_json: bool) -> None:
    """Say whether the candidate of ALIAS is better.

    Of the last rollout, also one that has ended. Its figures are those that the workers have written; they do so every
    two seconds while they serve it. Intervals hold at all times at once, so it may be asked for again and again.

    \b
      inferstream models report triage@prod
      inferstream models report triage@prod --json
    """
    from ....models.releases.names import parse_release_name
    from ....models.releases.registry.opening import open_registry
    from ....models.releases.registry.rollout_files import RolloutFiles
    from ....rollouts.figures import total
    from ....rollouts.report import rollout_report
    from ...output.rollouts import print_report

    name = parse_release_name(alias)
    if not name.alias:
        raise UsageError(f"{alias} is a version: a rollout is one of an alias, as {name.task}@prod.")
    store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
    history = store.history(name.task, name.alias)
    began = [state for state in history if state.candidate and state.rollout]
    if not began:
        raise UsageError(
            f"No candidate was ever tried as {alias}: inferstream models promote NAME {alias} --canary 0.2"
        )
    state = began[-1]
    assert state.rollout is not None
    found = RolloutFiles(store, name.task, name.alias, state.number).read()
    made = rollout_report(total(one.figures for one in found), state.rollout.limits)
    ended = next((one for one in history if one.number > state.number), None)
    print_report(alias, state, ended, [one.worker for one in found], made, as_json=as_json)
