"""The figures as a picture, for those who would rather look."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from .suite import Round

SYSTEMS = (
    ("raw", "raw loop, sorted\n(the limit)"),
    ("learned", "inferstream"),
    ("single", "one at a time"),
    ("fp32", "inferstream, fp32"),
    ("fifo", "FIFO batches\nof 32"),
)


def plot(rounds: Sequence[Round], memory_mb: Sequence[float], path: Path) -> None:
    """Write a PNG: tickets/s of each system in each round, and the worker's memory over time."""
    figure = Figure(figsize=(11, 4), layout="tight")
    bars, line = figure.subplots(1, 2, width_ratios=(3, 2))
    width = 0.8 / len(rounds)
    for number, measured in enumerate(rounds):
        heights = [getattr(measured, field).per_s for field, _ in SYSTEMS]
        places = [place + (number - (len(rounds) - 1) / 2) * width for place in range(len(SYSTEMS))]
        bars.bar(places, heights, width * 0.9, color=colormaps["Blues"](0.45 + 0.15 * number))
    bars.set_xticks(range(len(SYSTEMS)), [label for _, label in SYSTEMS], fontsize=8)
    bars.set_ylabel("tickets/s")
    bars.set_title("Tickets over Kafka, cache off, one bar a round", fontsize=10)
    line.plot(memory_mb, color="tab:blue")
    line.axhline(400, color="tab:red", linewidth=0.8, linestyle="--")
    line.set_ylim(0, 450)
    line.set_xlabel("seconds at full load")
    line.set_ylabel("resident MB")
    line.set_title("Memory of the worker", fontsize=10)
    for axes in (bars, line):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
