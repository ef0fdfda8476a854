"""Output of `triage fit`: what each tier of a fitted model costs and wins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .tables import print_table

if TYPE_CHECKING:
    from ...optimize.triage.fit_tiers import TierReport

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
    """Print a row for each tier, which one is served, and how to choose another."""
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
    others = [one.tier for one in reports if one.tier != served]
    click.echo(f"\nThe tier {served} answers. Fit with --serve {' or '.join(others)} for another one.")
