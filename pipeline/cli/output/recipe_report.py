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
    "agreement": "LABELS AS FP32",
    "front": "BEST IN",
    "version": "VERSION",
}


def print_variants(report: "RecipeReport") -> None:
    """A row for each variant."""
    print_table([_row(one) for one in report.variants], COLUMNS, as_json=False)


def _row(variant: "VariantRow") -> dict[str, object]:
    return {
        "name": variant.name,
        "size": f"{variant.size_bytes / 1e6:.1f} MB",
        "accuracy": _percent(variant.accuracy),
        "share": _percent(variant.share),
        "agreement": _percent(variant.agreement),
        "front": ", ".join(variant.fronts),
        "version": variant.version,
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
