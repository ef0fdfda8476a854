"""Output of `triage fit`: what each tier of a fitted model costs and wins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .tables import print_table

if TYPE_CHECKING:
    from ...optimize.triage.fit_tiers import TierReport
    from ...tasks.triage.cascade import Cascade

COLUMNS = {
    "tier": "TIER",
    "served": "SERVED",
    "accuracy": "RIGHT",
    "macro_f1": "MACRO F1",
    "calibration_error": "CALIBRATION ERROR",
    "by_static": "BY THE STATIC TIER",
    "megabytes": "MB",
    "tickets_per_s": "TICKETS/S, ONE CORE",
}


def print_tiers(reports: "Sequence[TierReport]", served: str) -> None:
    """Print a row for each tier, and which one is served."""
    rows = [
        {
            "tier": one.tier,
            "served": one.tier == served,
            "accuracy": one.accuracy,
            "macro_f1": one.macro_f1,
            "calibration_error": one.calibration_error,
            "by_static": one.by_static,
            "megabytes": f"{one.size_bytes / 1e6:.1f}",
            "tickets_per_s": f"{one.tickets_per_s:,.0f}",
        }
        for one in reports
    ]
    click.echo()
    print_table(rows, COLUMNS, as_json=False)
    click.echo(f"\nThe tier {served} answers.")


def print_cascade(cascade: "Cascade | None", changed_on_test: float) -> None:
    """Print what the cascade promises, and how that was found."""
    if cascade is None:
        return
    measured = cascade.measured
    if not measured.share:
        click.echo(
            f"\nThe cascade leaves all to the encoder: {measured.rows} tickets do not show that at most "
            f"{cascade.limit:.2%} of the answers would change. Fit on more of them, or with a higher --changed."
        )
        return
    bound = f"upper 95 % bound {measured.changed_high:.2%}" if cascade.bound == "upper" else "expected"
    click.echo(
        f"\nIn the cascade the static tier answers what it is at least {cascade.steps(measured.human)[0]:.1%} sure "
        f"of. On tickets that neither tier was fitted on it answers {measured.share:.1%}, and changes "
        f"{measured.changed:.2%} of all answers ({bound}); on {measured.foreign_rows} foreign or mangled texts "
        f"{measured.foreign_share:.1%} and {measured.foreign_changed:.2%}; on the test tickets it changes "
        f"{changed_on_test:.2%}."
    )
