"""The figures as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure as Picture

from ..statistics import median, median_interval
from .figures import MAX_MB, SYSTEMS
from .measurements import Measurements

BARS: Final = {
    "raw": "raw loop, sorted\n(the limit)",
    "learned": "inferstream",
    "single": "one at a time",
    "fp32": "inferstream, fp32",
    "fifo": "FIFO batches\nof 32",
}


def plot(measurements: Measurements, path: Path) -> None:
    """Write a PNG: tickets/s of each system, and the memory of the worker."""
    picture = Picture(figsize=(11, 4), layout="tight")
    bars, line = picture.subplots(1, 2, width_ratios=(3, 2))
    values = [[SYSTEMS[name][1](round_).per_s for round_ in measurements.rounds] for name in BARS]
    medians = [median(each) for each in values]
    intervals = [median_interval(each) for each in values]
    errors = (
        [middle - interval.low for middle, interval in zip(medians, intervals, strict=True)],
        [interval.high - middle for middle, interval in zip(medians, intervals, strict=True)],
    )
    bars.bar(range(len(BARS)), medians, 0.6, yerr=errors, capsize=4, color="tab:blue", alpha=0.6)
    for place, each in enumerate(values):
        bars.plot([place] * len(each), each, ".", color="black", markersize=3, alpha=0.5)
    bars.set_xticks(range(len(BARS)), list(BARS.values()), fontsize=8)
    bars.set_ylabel("tickets/s")
    bars.set_title("Tickets over Kafka, cache off: median, 95 % interval, rounds", fontsize=10)
    memory_mb: Sequence[float] = measurements.memory_mb
    shares = [100 * (number + 0.5) / len(memory_mb) for number in range(len(memory_mb))]
    line.plot(shares, memory_mb, color="tab:blue")
    line.axhline(MAX_MB, color="tab:red", linewidth=0.8, linestyle="--")
    line.set_ylim(0, MAX_MB + 50)
    line.set_xlabel(f"% of {measurements.memory_requests:,} requests at full load")
    line.set_ylabel("resident MB")
    line.set_title("Memory of the worker", fontsize=10)
    for axes in (bars, line):
        axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, dpi=120)
