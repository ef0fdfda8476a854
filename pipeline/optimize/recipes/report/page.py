"""The report as one page of HTML that needs no other file. All texts are escaped: labels come from strangers."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from .report import RecipeReport

TEMPLATE: Final = "page.html.j2"
NO_PLOTS: Final = (
    "There are no plots: run pip install '.[bench]' in a checkout of inferstream for matplotlib."
)


def page_of(report: RecipeReport, plots: Mapping[str, str] | None) -> str:
    """The page. ``plots`` are SVG by what accuracy is plotted against; None where matplotlib is not installed."""
    text = resources.files(__package__).joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "mb": _mb, "number": _number, "estimate": _estimate}
    return environment.from_string(text).render(report=report, plots=plots, no_plots=NO_PLOTS)


def _percent(share: Any) -> str:
    return "" if share is None else f"{share:.1%}"


def _mb(size_bytes: Any) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:.1f}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}"


def _estimate(share: Any) -> str:
    return "" if share is None else f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
