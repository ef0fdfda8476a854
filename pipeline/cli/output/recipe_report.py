"""The variants that a recipe made, as a table."""

from typing import TYPE_CHECKING

from .tables import print_table

if TYPE_CHECKING:
    from ...optimize.recipes.report.report import RecipeReport, VariantRow

COLUMNS = {
    "name": "VARIANT",
    "size": "SIZE",
    "accuracy": "ACCURACY",
    "share": "OF THE ORIGINAL'S",
    "agreement": "SAME ANSWERS",
    "p50": "P50",
    "rows_per_s": "ROWS/S",
    "times": "TIMES THE ORIGINAL",
    "gate": "GATE",
    "front": "BEST IN",
}


def print_variants(report: "RecipeReport") -> None:
    """A row for each variant."""
    print_table([_row(one) for one in report.variants], COLUMNS, as_json=False)


def _row(variant: "VariantRow") -> dict[str, object]:
    found, speed = variant.evaluation, variant.speed
    times = speed.times_original if speed else None
    return {
        "name": variant.name,
        "size": f"{variant.size_bytes / 1e6:.1f} MB",
        "accuracy": _percent(variant.accuracy),
        "share": _percent(found.share.value) if found and found.share else "",
        "agreement": _percent(found.agreement.value) if found and found.agreement else "",
        "p50": f"{speed.p50_ms:.1f} ms" if speed else "",
        "rows_per_s": f"{speed.rows_per_s:.0f}" if speed else "",
        "times": f"{times.value:.2f}" if times else "",
        "gate": _gate(variant),
        "front": ", ".join(variant.fronts),
    }


def _gate(variant: "VariantRow") -> str:
    gate = variant.gate
    if gate is None:
        return ""
    return "passed" if gate.passed else "forced" if gate.forced else "failed"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
