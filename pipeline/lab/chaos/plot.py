"""The timeline of a run as a picture."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from ..statistics import percentile
from .report import ChaosReport
from .request_log import ObservedEnd
from .scenario import AREAS

COLORS: Final = {
    "workers": "tab:red",
    "members": "tab:purple",
    "brokers": "tab:orange",
    "cache": "tab:green",
    "clock": "tab:brown",
    "device": "tab:blue",
    "topics": "tab:olive",
    "records": "tab:pink",
    "clients": "tab:cyan",
}
MAX_BINS: Final = 300


def plot(report: ChaosReport, path: Path) -> None:
    """Write a PNG of throughput, latency, open requests, memory and faults over time."""
    end_s = max([report.seconds, *(one.at_s for one in report.seen[-1:])])
    bin_s = max(1.0, end_s / MAX_BINS)
    figure = Figure(figsize=(13, 9), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True, height_ratios=(0.55, 1, 1, 1, 0.8))
    _faults(axes[0], report)
    _throughput(axes[1], report, bin_s)
    _latency(axes[2], report.seen, bin_s)
    axes[3].plot(*_columns(report.open), color="tab:blue", linewidth=1)
    axes[3].set_ylabel("open requests")
    axes[3].set_ylim(bottom=0)
    _memory(axes[4], report)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.axvline(report.calm_s, color="black", linewidth=0.8, linestyle=":")
        one.axvline(report.seconds, color="black", linewidth=0.8, linestyle=":")
        for fault in report.happened if one is not axes[0] else ():
            one.axvspan(
                fault.began_s, fault.ended_s, color=COLORS[AREAS[fault.kind]], alpha=0.18, linewidth=0.8
            )
    axes[-1].set_xlabel("seconds; dotted lines: end of the calm, end of the load")
    judgment = report.judgment
    figure.suptitle(
        f"{report.scenario.name}, seed {report.seed}: {judgment.requests:,} requests, {judgment.lost} lost, "
        f"{judgment.out_of_order} out of order, {judgment.duplicated} duplicated, {len(report.happened)} faults",
        fontsize=11,
    )
    figure.savefig(path, dpi=110)


def _faults(axes: Any, report: ChaosReport) -> None:
    """One row for each area, with a bar for each fault."""
    areas = [area for area in COLORS if any(AREAS[fault.kind] == area for fault in report.happened)]
    for fault in report.happened:
        row = areas.index(AREAS[fault.kind])
        width = max(fault.ended_s - fault.began_s, report.seconds / 400)
        axes.barh(row, width, left=fault.began_s, height=0.7, color=COLORS[AREAS[fault.kind]], alpha=0.8)
        if len(report.happened) <= 30:
            axes.text(fault.began_s, row + 0.42, fault.kind.replace("_", " "), fontsize=6, va="bottom")
    for one in report.exits:
        if not one.wanted:
            axes.plot(one.at_s, -0.8, marker="x", color="black", markersize=5)
    axes.set_yticks(range(len(areas)), areas, fontsize=8)
    axes.set_ylim(-1, max(len(areas), 1))


def _throughput(axes: Any, report: ChaosReport, bin_s: float) -> None:
    kinds: dict[str, Callable[[ObservedEnd], bool]] = {
        "results": lambda one: one.code == "result",
        "failures, dead letters": lambda one: one.code != "result",
    }
    for (label, wanted), color in zip(kinds.items(), ("tab:green", "tab:red"), strict=True):
        bins = _binned([one for one in report.seen if wanted(one)], bin_s)
        axes.step(
            *_columns([(at, len(of) / bin_s) for at, of in bins]),
            where="post",
            label=label,
            color=color,
            linewidth=1,
        )
    axes.set_ylabel("ends per second")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, loc="upper right")


def _latency(axes: Any, seen: Sequence[ObservedEnd], bin_s: float) -> None:
    bins = _binned([one for one in seen if one.latency_s is not None], bin_s)
    for percent, color in ((50, "tab:blue"), (99, "tab:orange")):
        points = [(at, percentile([one.latency_s or 0.0 for one in of], percent)) for at, of in bins if of]
        axes.plot(*_columns(points), color=color, linewidth=1, label=f"p{percent}")
    axes.set_yscale("log")
    axes.set_ylabel("latency, s")
    axes.legend(fontsize=7, loc="upper right")


def _memory(axes: Any, report: ChaosReport) -> None:
    ordered = sorted(report.memory_mb, key=lambda one: (one[2], one[0]))
    for _, life in groupby(ordered, lambda one: one[2]):
        axes.plot(*_columns([(at_s, mb) for at_s, _, _, mb in life]), linewidth=0.9)
    axes.set_ylabel("resident MB\nof each worker")
    axes.set_ylim(bottom=0)


def _binned(seen: Sequence[ObservedEnd], bin_s: float) -> list[tuple[float, list[ObservedEnd]]]:
    """The ends in bins of time, empty bins included."""
    if not seen:
        return []
    bins: dict[int, list[ObservedEnd]] = {number: [] for number in range(int(seen[-1].at_s / bin_s) + 1)}
    for one in seen:
        bins[int(one.at_s / bin_s)].append(one)
    return [(number * bin_s, of) for number, of in bins.items()]


def _columns(points: Sequence[tuple[float, Any]]) -> tuple[list[float], list[Any]]:
    return [at for at, _ in points], [value for _, value in points]
