"""The report on a candidate in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from .tables import print_table

if TYPE_CHECKING:
    from ...models.releases.alias import AliasState
    from ...rollouts.report import Bounded, RolloutReport

COLUMNS: Final = {"figure": "FIGURE", "value": "VALUE", "low": "FROM", "high": "TO", "limit": "LIMIT"}


def print_report(
    alias: str,
    state: "AliasState",
    ended: "AliasState | None",
    workers: Sequence[str],
    report: "RolloutReport",
    *,
    as_json: bool,
) -> None:
    """``state`` began the rollout, ``ended`` is the state behind it."""
    if as_json:
        whole: dict[str, Any] = {"alias": alias, "state": state, "ended": ended, "workers": workers}
        click.echo(msgspec.json.format(msgspec.json.encode(whole | {"report": report}), indent=2))
        return
    assert state.rollout is not None
    answered = f"{report.requests[0]:,} requests to it, {report.requests[1]:,} to {state.stable}"
    click.echo(
        f"{alias}: {state.candidate} on trial since {state.at} ({state.rollout.mode}, {state.rollout.share:.0%}); "
        f"{answered}; workers that have written figures: {len(workers)}."
    )
    if ended is not None:
        click.echo(f"It ended at {ended.at}, by {ended.by}. {ended.reason}".rstrip())
    click.echo(f"{report.verdict.capitalize()}. {report.why}")
    print_table(_rows(state, report), COLUMNS, as_json=False)


def _rows(state: "AliasState", report: "RolloutReport") -> list[dict[str, Any]]:
    from ...rollouts.judgement import SEEN

    assert state.rollout is not None
    limits = state.rollout.limits
    seen = f"{limits.latency * SEEN:.2g} ×"
    rows: list[tuple[str, Bounded, bool, str]] = [
        ("more requests failed", report.error_rate, True, f"{limits.error_rate:.2%}"),
        ("median latency", report.latency_p50, False, seen),
        ("99th percentile of the latency", report.latency_p99, False, seen),
        ("median cost of a batch", report.cost, False, f"{limits.latency:.2g} ×"),
        (
            f"answers that differ, of {report.compared:,}",
            report.disagreement,
            True,
            f"{limits.disagreement:.2%}",
        ),
        (
            f"more right answers, of {report.labeled:,} labels",
            report.accuracy,
            True,
            f"-{limits.accuracy:.2%}",
        ),
    ]
    return [
        {
            "figure": name,
            "value": _shown(one.value, is_share),
            "low": _shown(one.low, is_share),
            "high": _shown(one.high, is_share),
            "limit": limit,
        }
        for name, one, is_share, limit in rows
    ]


def _shown(value: float | None, is_share: bool) -> str:
    if value is None:
        return "not known"
    return f"{value:+.2%}" if is_share else f"{value:.2f} ×"
