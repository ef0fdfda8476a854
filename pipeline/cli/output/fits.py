"""The end of `triage fit`: the judgement on what is served, and what to do with it."""

import shlex
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from ...models.metrics import Judgement

TIERS = ("encoder", "static", "cascade", "ensemble")


class FitJudgement(NamedTuple):
    """The judgement on a fit, or why there is none."""

    judgement: "Judgement | None"
    unjudged: str = ""


class FitGiven(NamedTuple):
    """What a fit was told: the commands that follow repeat it."""

    name: str
    served: str
    tiers: tuple[str, ...]  # that were fitted
    measure: str  # the arguments of the command that measures it: tickets.csv --label category
    taxonomy: str = ""
    before: str = ""  # the fit that was served


def print_judged(found: FitJudgement, name: str) -> None:
    """One sentence about what was measured beside the original, and those of a closed gate."""
    if found.judgement is None:
        click.echo(f"\n{name} was not judged: {found.unjudged}")
        return
    evaluation, gate = found.judgement.evaluation, found.judgement.gate
    share, same = evaluation.share, evaluation.agreement
    assert share  # both are measured of every fitted model
    assert same
    click.echo(
        f"\nOn {evaluation.rows} tickets that the fit has not seen, {name} keeps {share.value:.1%} ({share.low:.1%} to "
        f"{share.high:.1%}) of the accuracy of {evaluation.original}, and gives {same.value:.1%} of its answers."
    )
    if gate.passed:
        click.echo("It passed its gate.")
    elif gate.forced:
        click.echo(f"It did not pass its gate: {' '.join(gate.failures)} It was forced, so workers serve it.")
    else:
        click.echo(f"It did not pass its gate: {' '.join(gate.failures)} Workers refuse it.")


def print_next(found: FitJudgement, given: FitGiven) -> None:
    """The commands that serve it, publish it and choose another tier; where its gate is closed, those that open it."""
    name = given.name
    with_taxonomy = f" --taxonomy {shlex.quote(given.taxonomy)}" if given.taxonomy else ""
    measure = f"inferstream models evaluate {name} {given.measure}{with_taxonomy}"
    promote = f"inferstream models promote {name} triage@prod{with_taxonomy}"
    serve = f"inferstream worker triage --model {name}{with_taxonomy} --kafka ADDR"
    others = "|".join(tier for tier in given.tiers if tier != given.served)
    change = {f"inferstream triage use {name} --serve {others}": "another tier answers"} if others else {}
    judgement = found.judgement
    if judgement is not None and not judgement.gate.open:
        back = (
            {f"inferstream triage use {name} {given.before}": "serve the fit before"} if given.before else {}
        )
        steps = back | change | {f"{measure} --force": "serve it nevertheless; that is recorded for ever"}
    elif judgement is None:
        steps = {serve: "serve it"} | change
        steps |= {measure: "measure it, for `models promote`", promote: "publish it then"}
    else:
        steps = {serve: "serve it", promote: "publish it"} | change
    width = max(map(len, steps))
    click.echo("\nNext:")
    for command, what in steps.items():
        click.echo(f"  {command:<{width}}   {what}")
