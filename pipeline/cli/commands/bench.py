"""`inferstream bench`."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console

from ...config import Config, KafkaConfig
from ...kafka_local.cluster import LocalKafka
from ...lab.bench.figures import Figure, figures, speeds
from ...lab.bench.plot import plot
from ...lab.bench.runs import Bench
from ...lab.bench.suite import Effort, Measured, Suite
from ...lab.bench.tickets import read_texts
from ..output.tables import print_table

COLUMNS = {
    "name": "",
    "what": "figure",
    "median": "median",
    "goal": "goal",
    "met": "met",
    "detail": "range or parts",
}
SPEED_COLUMNS = {
    "system": "at full load",
    "per_s": "requests/s",
    "measured_ms": "CPU ms/request",
    "broker_ms": "broker's",
    "generator_ms": "generator's",
}
QUICK = Effort(
    requests=600, rounds=1, cached_requests=10_000, memory_requests=0, paced_requests=150, load_s=4.0
)


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("bench")
@click.option("--data", type=FILE, required=True, help="JSONL with a field, or CSV with a column `text`.")
@click.option("--kafka", help="Measure on this Kafka; without an address a local one runs meanwhile.")
@click.option("--quick", is_flag=True, help="One short round, no memory run: to see that it works.")
@click.option(
    "--out", type=FOLDER, default="results/bench", show_default=True, help="For figures.json, plot.png."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(data: Path, kafka: str | None, quick: bool, out: Path, as_json: bool) -> None:
    """Measure throughput, latency and memory over a real Kafka, each beside an honest baseline.

    What is compared runs in turn on the same lanes, and every figure is a ratio within this run. The raw loop knows
    all tickets beforehand and has no queue; FIFO batches of 32 with a delay of 10 ms are what most servers do.

        inferstream bench --data examples/tickets.jsonl
    """
    console = Console(stderr=True)
    effort = QUICK if quick else Effort()
    with _kafka(kafka) as address, console.status("starting") as status:
        config = Config(kafka=KafkaConfig(bootstrap=address))
        measured = asyncio.run(_measure(config, read_texts(data), effort, status.update))
    found = figures(measured, effort)
    _store(out, measured, found)
    if not as_json:
        print_table(msgspec.to_builtins(speeds(measured.rounds)), SPEED_COLUMNS, as_json=False)
    print_table(msgspec.to_builtins(found), COLUMNS, as_json=as_json)
    console.print(f"figures.json and plot.png are in {out}.")


@contextmanager
def _kafka(address: str | None) -> Iterator[str]:
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder), port=0) as kafka:
        yield kafka.bootstrap


async def _measure(config: Config, texts: list[str], effort: Effort, tell: object) -> Measured:
    async with Bench.connected(config) as bench:
        return await Suite(bench, texts, effort, tell).measure()  # type: ignore[arg-type]


def _store(out: Path, measured: Measured, found: list[Figure]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    memory_mb = measured.memory.resident_mb if measured.memory else []
    body = {"figures": found, "speeds": speeds(measured.rounds), "memory_mb": memory_mb}
    (out / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2))
    plot(measured.rounds, memory_mb, out / "plot.png")
