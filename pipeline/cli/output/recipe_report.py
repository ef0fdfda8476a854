"""The variants that a recipe made, as a table."""

from typing import TYPE_CHECKING

import click

from .tables import print_table

if TYPE_CHECKING:
    from ...optimize.recipes.report.report import RecipeReport, VariantRow

COLUMNS = {
    "name": "VARIANT",
    "size": "SIZE",
    "accuracy": "ACCURACY",
    "share": "KEPT",
    "p50": "P50",
    "rows_per_s": "ROWS/S",
    "times": "TIMES",
    "gate": "GATE",
    "front": "FRONT",
}
LEGEND = "KEPT: of the original's accuracy. TIMES: its rows/s. FRONT: no other variant is better in accuracy and in %s."


def print_variants(report: "RecipeReport") -> None:
    """A row for each variant."""
    from ...optimize.recipes.report.report import AXES

    print_table([_row(one) for one in report.variants], COLUMNS, as_json=False)
    click.echo()
    click.echo(LEGEND % " or ".join(axis.name for axis in AXES))


def _row(variant: "VariantRow") -> dict[str, object]:
    found, speed = variant.evaluation, variant.speed
    times = speed.times_original if speed else None
    return {
        "name": variant.name,
        "size": f"{variant.size_bytes / 1e6:.1f} MB",
        "accuracy": _percent(variant.accuracy),
        "share": _percent(found.share.value) if found and found.share else "",
        "p50": f"{speed.p50_ms:.1f} ms" if speed else "",
        "rows_per_s": f"{speed.rows_per_s:.0f}" if speed else "",
        "times": f"{times.value:.2f}" if times else "",
        "gate": _gate(variant),
        "front": "yes" if variant.fronts else "",
    }


def _gate(variant: "VariantRow") -> str:
    gate = variant.gate
    if gate is None:
        return ""
    return "passed" if gate.passed else "forced" if gate.forced else "failed"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
