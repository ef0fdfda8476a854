"""`inferstream chaos`."""

import asyncio
import logging
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import click
import msgspec
from rich.console import Console

from ...kafka_local.cluster import LocalKafka
from ...lab.chaos.figures import ends_by_code, figures
from ...lab.chaos.plot import plot
from ...lab.chaos.report import Report
from ...lab.chaos.run import Conductor
from ...lab.chaos.scenario import load_scenario, scenario_names
from ..output.tables import print_table

COLUMNS = {"figure": "figure", "value": "value", "goal": "goal", "met": "met"}
HEAP_MB = 256


@click.command("chaos")
@click.option(
    "--scenario", default="all", show_default=True, help="What to break; --list tells what there is."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.25),
    help="How long load and faults last; there are as many more or fewer faults.  [default: the scenario's]",
)
@click.option(
    "--seed", default=1, show_default=True, help="The same seed gives the same requests and the same faults."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="results/chaos",
    show_default=True,
    help="For figures, timeline and logs, in a folder named after the scenario.",
)
@click.option("--list", "listing", is_flag=True, help="List the scenarios and what each does.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(scenario: str, minutes: float | None, seed: int, out: Path, listing: bool, as_json: bool) -> int:
    """Break brokers and workers under load, then have the auditor judge what stands in the topics.

    Brings up brokers and workers on this machine and ends them all afterwards. The exit status is 1 when
    a request was lost or a reply came out of the order of its key.

    \b
      inferstream chaos                              everything, ten minutes
      inferstream chaos --scenario kill_workers      one kind of fault
      inferstream chaos --minutes 1 --seed 7         shorter, and other times
    """
    if listing:
        known = [load_scenario(name) for name in scenario_names()]
        rows = [{"name": one.name, "seconds": one.seconds, "about": one.about} for one in known]
        print_table(
            rows, {"name": "scenario", "seconds": "seconds", "about": "what happens"}, as_json=as_json
        )
        return 0
    chosen = load_scenario(scenario)
    folder = fresh_folder(out / scenario)
    seconds = minutes * 60 if minutes else chosen.seconds
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # end in order then, too
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of each broker that we kill
    console = Console(stderr=True, highlight=False)
    with (
        console.status(f"Starting Kafka, brokers: {chosen.brokers}") as status,
        tempfile.TemporaryDirectory(prefix="inferstream-chaos-") as data,
        LocalKafka(Path(data), brokers=chosen.brokers, port=0, heap_mb=HEAP_MB) as kafka,
    ):
        conductor = Conductor(chosen, kafka, folder, seconds=seconds, seed=seed, tell=status.update)
        report = asyncio.run(conductor.run())
    return tell(report, folder, console, as_json=as_json)


def tell(report: Report, folder: Path, console: Console, *, as_json: bool) -> int:
    """Store and print what the run gave; the exit status."""
    found = figures(report)
    (folder / "report.json").write_bytes(msgspec.json.encode(report))
    (folder / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    plot(report, folder / "timeline.png")
    print_table([msgspec.to_builtins(figure) for figure in found], COLUMNS, as_json=as_json)
    ends = ", ".join(f"{count} {code}" for code, count in ends_by_code(report.seen).items())
    console.print(f"Ends: {ends}.", soft_wrap=True)
    console.print(f"The timeline, the figures and the workers' logs are in {folder}.", soft_wrap=True)
    return 0 if report.judgment.clean and report.settled_s is not None else 1


def fresh_folder(folder: Path) -> Path:
    """An empty folder; what an earlier run left there is kept beside it under a number."""
    if folder.exists():
        number = 1
        while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        with suppress(OSError):
            folder.rename(kept)
    folder.mkdir(parents=True)
    return folder
