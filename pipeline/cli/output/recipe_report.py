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
    "bleu": "BLEU",
    "chrf": "CHRF",
    "kl": "KL",
    "top1": "SAME TOKEN",
    "perplexity": "PERPLEXITY",
    "p50": "P50",
    "rows_per_s": "ROWS/S",
    "times": "TIMES",
    "gate": "GATE",
    "front": "FRONT",
}
LEGEND = "KEPT: of the original's accuracy. TIMES: its rows/s. FRONT: no other variant is better in accuracy and in %s."
OF_TEXTS = (
    "BLEU, CHRF: against the original's translations. KL, SAME TOKEN: of the next token, beside the original's. TIMES: "
    "its rows/s. FRONT: no other variant is as good and better in %s."
)
OFTEN_EMPTY = {"accuracy", "share", "bleu", "chrf", "kl", "top1", "perplexity", "p50", "rows_per_s", "times"}
"""Columns that are left out where they have no figure."""


def print_variants(report: "RecipeReport") -> None:
    """A row for each variant."""
    from ...optimize.recipes.report.report import AXES

    rows = [_row(one) for one in report.variants]
    columns = {
        name: title
        for name, title in COLUMNS.items()
        if name not in OFTEN_EMPTY or any(row[name] for row in rows)
    }
    print_table(rows, columns, as_json=False)
    click.echo()
    click.echo((OF_TEXTS if report.is_of_texts else LEGEND) % " or ".join(axis.name for axis in AXES))


def _row(variant: "VariantRow") -> dict[str, object]:
    found, speed = variant.evaluation, variant.speed
    times = speed.times_original if speed else None
    return {
        "name": variant.name,
        "size": f"{variant.size_bytes / 1e6:.1f} MB",
        "accuracy": _percent(found.accuracy.value) if found and found.accuracy else "",
        "bleu": _number(found.bleu if found else None),
        "chrf": _number(found.chrf if found else None),
        "kl": _number(found.kl if found else None),
        "top1": _percent(found.top1 if found else None),
        "perplexity": _number(found.perplexity if found else None),
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


def _number(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
