"""`inferstream bench`. What it needs of the extra `bench` is imported when it runs, not for its help."""

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec
from msgspec.structs import replace
from rich.console import Console

from ...config import KafkaConfig
from ...errors import UsageError
from ...tasks.triage.definition import TRIAGE
from ..options.rows import dialect_given, dialect_options, text_column
from ..options.settings import KAFKA_ADDRESS
from ..output.bench_progress import BenchProgress
from ..output.tables import print_table

if TYPE_CHECKING:
    from ...lab.bench.bench import Bench
    from ...lab.bench.figures import BenchFigure, Speed
    from ...lab.bench.measurements import AgainstEffort, Effort

COLUMNS: Final = {
    "name": "",
    "what": "figure",
    "median": "median",
    "interval": "95 % interval",
    "goal": "goal",
    "met": "met",
    "detail": "parts",
}
SPEED_COLUMNS: Final = {
    "system": "at full load",
    "per_s": "requests/s",
    "measured_ms": "CPU ms/request",
    "broker_ms": "broker's",
    "generator_ms": "generator's",
}
T = TypeVar("T")
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.command("bench")
@click.option(
    "--data", type=FILE, required=True, help="File with texts: CSV, JSON Lines, or one text a line."
)
@text_column
@dialect_options
@click.option(
    "--kafka",
    **{**KAFKA_ADDRESS, "help": "Measure on this Kafka; without an address a local one runs meanwhile."},
)
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Compare with another checkout: its folder, or its `inferstream` executable. Its workers and ours take turns.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds.  [default: 12; 25 with --against]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    help="After the sixth round none begins that would end later than this.",
)
@click.option(
    "--memory-requests",
    type=click.IntRange(min=0),
    help="Requests over which memory is watched; 0 for none.  [default: 40000]",
)
@click.option("--quick", is_flag=True, help="Two tiny rounds, no memory run: to see that it works.")
@click.option(
    "--out", type=FOLDER, default="results/bench", show_default=True, help="For figures.json, plot.png."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def command(
    data: Path,
    kafka: str | None,
    against: Path | None,
    rounds: int | None,
    minutes: float,
    memory_requests: int | None,
    quick: bool,
    out: Path,
    as_json: bool,
    markdown: bool,
    text: str,
    **reading: Any,
) -> None:
    """Measure throughput, latency and memory over a real Kafka, each beside an honest baseline.

    What is compared takes turns in many short rounds, with the same texts and lanes. Each figure is a ratio within a
    round; the median of the rounds is printed, with its 95 % interval. The raw loop has all tickets at once and no
    queue; FIFO batches of 32 with a delay of 10 ms are what most servers do.

    \b
      inferstream bench --data examples/tickets.jsonl
      inferstream bench --data examples/tickets.jsonl --against ../other-checkout
    """
    from ...lab.bench.tickets import read_texts

    console = Console(stderr=True)
    texts = read_texts(data, text, dialect_given(data, reading))
    given = {"rounds": rounds, "limit_s": minutes * 60, "memory_requests": memory_requests}
    options = {name: value for name, value in given.items() if value is not None}
    with BenchProgress(console) as progress:
        if against:
            effort = _against_effort(quick, options)
            result = _compare(kafka, progress, against, texts, effort)
        else:
            result = _measure(kafka, progress, texts, _effort(quick, options))
    _store(result, out)
    print_result(result, as_json=as_json, markdown=markdown)
    console.print(
        f"Measured in {len(result.figures[0].values)} rounds. The figures and the values of all rounds are in {out}."
    )


class BenchResult(NamedTuple):
    """What a run found. A comparison of two checkouts has neither memory nor a plot."""

    figures: "list[BenchFigure]"
    speeds: "list[Speed]"
    memory_mb: list[float] | None = None
    plot: Callable[[Path], None] | None = None


def _effort(quick: bool, options: Mapping[str, Any]) -> "Effort":
    from ...lab.bench.measurements import QUICK, Effort

    return replace(QUICK if quick else Effort(), **options)


def _against_effort(quick: bool, options: Mapping[str, Any]) -> "AgainstEffort":
    from ...lab.bench.measurements import QUICK_AGAINST, AgainstEffort

    if "memory_requests" in options:
        raise UsageError("--against compares throughput and latency: leave out --memory-requests.")
    return replace(QUICK_AGAINST if quick else AgainstEffort(), **options)


def _measure(
    kafka: str | None, progress: BenchProgress, texts: Sequence[str], effort: "Effort"
) -> BenchResult:
    from ...lab.bench.figures import figures, speeds
    from ...lab.bench.plot import plot
    from ...lab.bench.suite import Suite

    measured = asyncio.run(with_bench(kafka, lambda bench: Suite(bench, texts, effort, progress).measure()))
    return BenchResult(
        figures(measured, effort), speeds(measured.rounds), measured.memory_mb, partial(plot, measured)
    )


def _compare(
    kafka: str | None, progress: BenchProgress, other: Path, texts: Sequence[str], effort: "AgainstEffort"
) -> BenchResult:
    from ...lab.bench.against import AgainstSuite, against_figures, against_speeds

    rounds = asyncio.run(
        with_bench(kafka, lambda bench: AgainstSuite(bench, other, texts, effort, progress).measure())
    )
    return BenchResult(against_figures(rounds, effort), against_speeds(rounds))


async def with_bench(kafka: str | None, measure: "Callable[[Bench], Awaitable[T]]", task: str = TRIAGE) -> T:
    """Run ``measure`` of this task on this Kafka, or on a local one. Ctrl-C and SIGTERM end all that was started."""
    from ...lab.bench.bench import Bench

    cancel_this_task = signal.getsignal(signal.SIGINT)  # set by asyncio.run
    earlier = signal.signal(signal.SIGTERM, cancel_this_task)
    try:
        with tempfile.TemporaryDirectory() as folder, _kafka(kafka, Path(folder)) as config:
            async with Bench.connected(config, Path(folder), task) as bench:
                return await measure(bench)
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextmanager
def _kafka(address: str | None, folder: Path) -> Iterator[KafkaConfig]:
    if address:
        yield KafkaConfig(bootstrap=address)
        return
    from ...kafka_local.cluster import LocalKafka

    with LocalKafka(folder / "kafka", port=0) as kafka:
        yield KafkaConfig(bootstrap=kafka.bootstrap)


def _store(result: BenchResult, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    body = {"figures": result.figures, "speeds": result.speeds, "memory_mb": result.memory_mb}
    name = "figures.json" if result.plot else "against.json"
    (out / name).write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2))
    if result.plot:
        result.plot(out / "plot.png")


def print_result(result: BenchResult, *, as_json: bool, markdown: bool) -> None:
    if not as_json:
        speeds = msgspec.to_builtins(result.speeds)
        print_table(speeds, SPEED_COLUMNS, as_json=False, markdown=markdown)
        click.echo()
    print_figures(result.figures, as_json=as_json, markdown=markdown)


def print_figures(figures: "Sequence[BenchFigure]", *, as_json: bool, markdown: bool) -> None:
    rows = [{**msgspec.to_builtins(figure), "interval": _interval(figure)} for figure in figures]
    print_table(rows, COLUMNS, as_json=as_json, markdown=markdown)


def _interval(figure: "BenchFigure") -> str:
    return "" if figure.low is None else f"{figure.low:.3g} to {figure.high:.3g}"
