"""The figures of live streams, beside their goals, and the table of the modes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure as Picture
from msgspec import Struct

from ..bench.figures import BenchFigure
from ..statistics import percentile
from .live import MODES, LiveMeasurements, LiveTurn
from .speakers_report import PLAIN

LIVE: Final = "live"
COLORS: Final = {"live": "tab:orange", "stable": "tab:blue", "final": "tab:green", "overload": "tab:red"}


class LiveRow(Struct, frozen=True):
    """One mode: what its readers saw, what it cost. Lags are means; times of the device are for one segment."""

    mode: str
    finals: int
    p50_ms: float
    p99_ms: float
    erasure: float | None
    first_word_s: float | None
    word_s: float | None
    partials: int
    superseded: int
    device_ms: float
    cpu_ms: float


def live_rows(measured: LiveMeasurements) -> list[LiveRow]:
    """A row for each mode."""
    return [_row(measured.calm[mode]) for mode in MODES]


def _row(turn: LiveTurn) -> LiveRow:
    report = turn.report
    segments = max(1, len(report.finals_ms))
    return LiveRow(
        turn.mode,
        len(report.finals_ms),
        _percentile(report.finals_ms, 50),
        _percentile(report.finals_ms, 99),
        None if turn.mode == PLAIN else report.erased / max(1, report.words),
        None if turn.mode == PLAIN else _mean(report.first_s),
        None if turn.mode == PLAIN else _mean(report.word_s),
        report.partials,
        report.superseded,
        turn.device_s / segments * 1e3,
        turn.cpu_s / segments * 1e3,
    )


def live_figures(measured: LiveMeasurements) -> list[BenchFigure]:
    """All figures of live streams."""
    calm, overload = measured.calm["stable"], measured.overload
    behind = sum(turn.report.behind for turn in measured.calm.values())
    lag = f"; the event loop of the speakers is late by {_percentile(calm.report.loop_ms, 99):.0f} ms at p99"
    told = f"{len(calm.report.finals_ms)} finals of {calm.streams} streams"
    rows = {row.mode: row for row in live_rows(measured)}
    device = rows["stable"].device_ms / rows[PLAIN].device_ms
    sent = len(overload.report.finals_ms) + overload.report.failed
    load = f"{overload.streams} streams, {measured.kept_up:.0f} can be kept up with; of {overload.report.partials} "
    load += f"partials {overload.report.superseded} superseded, {overload.report.passed_over} refused or late"
    return [
        _most("segment to final, p50, ms", rows["stable"].p50_ms, 60, told + lag),
        _most("segment to final, p99, ms", rows["stable"].p99_ms, 250),
        _most("streams that fell behind", behind, 0, "in any mode"),
        _most(
            "device time, stable ÷ plain re-translation",
            device,
            0.6,
            f"{rows['stable'].device_ms:.1f} ms and {rows[PLAIN].device_ms:.1f} ms a segment",
        ),
        BenchFigure(
            LIVE,
            "at 3 × overload: share of finals answered",
            len(overload.report.finals_ms) / max(1, sent),
            None,
            None,
            "= 1",
            overload.report.failed == 0,
            [],
            load,
        ),
        _most("at 3 × overload: their p99, ms", _percentile(overload.report.finals_ms, 99), 500),
        _erasure(rows["live"], None),
        _erasure(rows["stable"], 0.2),
        _erasure(rows["final"], 0.0),
    ]


def _erasure(row: LiveRow, goal: float | None) -> BenchFigure:
    detail = f"lag of a word {row.word_s:.2f} s, of the first {row.first_word_s:.2f} s"
    value = row.erasure or 0.0
    shown = "" if goal is None else f"≤ {goal:g}"
    met = goal is None or value <= goal
    return BenchFigure(LIVE, f"erasure, {row.mode}", value, None, None, shown, met, [value], detail)


def _most(what: str, value: float, goal: float, detail: str = "") -> BenchFigure:
    return BenchFigure(LIVE, what, value, None, None, f"≤ {goal:g}", value <= goal, [value], detail)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _percentile(values: Sequence[float], percent: float) -> float:
    """That of no values is endless: a goal is not met by what never came."""
    return percentile(values, percent) if values else float("inf")


def live_plot(measured: LiveMeasurements, path: Path) -> None:
    """Write a PNG: how the lag of words and the lateness of finals are distributed."""
    picture = Picture(figsize=(11, 4), layout="tight")
    words, finals = picture.subplots(1, 2)
    for mode in ("live", "stable", "final"):
        _shares(words, measured.calm[mode].report.word_s, mode, COLORS[mode])
    _shares(finals, measured.calm["stable"].report.finals_ms, "stable", COLORS["stable"])
    _shares(finals, measured.overload.report.finals_ms, "stable, 3 × overload", COLORS["overload"])
    words.set_xlabel("s from a spoken word to its translation, as it stays")
    words.set_title("Lag of words, by mode", fontsize=10)
    finals.set_xlabel("ms from the end of a segment to its final")
    finals.set_title("Finals", fontsize=10)
    finals.set_xscale("log")
    for axes in (words, finals):
        axes.set_ylabel("share")
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, dpi=120)


def _shares(axes: object, values: Sequence[float], label: str, color: str) -> None:
    """The share of values up to each one."""
    ordered = sorted(values)
    shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
    axes.plot(ordered, shares, color=color, label=label)  # type: ignore[attr-defined]
