"""The plots of a report as SVG, in the colors of the page that they are in."""

from io import StringIO
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from .report import AXES, Axis, RecipeReport, points_of

INK: Final = "#010203"  # written into the SVG, and replaced there by the color of the page's text
POINT: Final = "#3b82c4"
FRONT: Final = "#d9822b"
SIZE: Final = (6.2, 4.2)


def plots_of(report: RecipeReport) -> dict[str, str]:
    """An SVG for each axis with at least two variants, by the label of the axis."""
    return {axis.label: _plot(report, axis) for axis in AXES if len(points_of(report.variants, axis)) > 1}


def _plot(report: RecipeReport, axis: Axis) -> str:
    points = points_of(report.variants, axis)
    best = {row.name for row in report.variants if axis.name in row.fronts}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": axis.name, "text.parse_math": False}):
        figure = Figure(figsize=SIZE, layout="tight")
        plot = figure.subplots()
        for name, (x, y) in points.items():
            color = FRONT if name in best else POINT
            plot.plot(x, 100 * y, "D" if name in best else "o", color=color, markersize=7)
            plot.annotate(
                name, (x, 100 * y), (0, 7), textcoords="offset points", color=INK, fontsize=8, ha="center"
            )
        line = sorted(points[name] for name in best)
        plot.plot([x for x, _ in line], [100 * y for _, y in line], "--", color=FRONT, linewidth=1)
        plot.set_xlabel(axis.label, color=INK)
        plot.set_ylabel(report.measured_by, color=INK)
        plot.set_xscale("log")
        plot.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        plot.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        plot.xaxis.set_minor_formatter(NullFormatter())
        plot.margins(0.2)
        plot.tick_params(colors=INK)
        for name, spine in plot.spines.items():
            spine.set_color(INK)
            spine.set_visible(name in ("left", "bottom"))
        written = StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
