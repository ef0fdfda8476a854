"""`inferstream chaos`. What it needs of the extras is imported when it runs, not for its help."""

import asyncio
import logging
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from ...lab.chaos.scenario import load_scenario, scenario_names
from ..output.tables import print_table

if TYPE_CHECKING:
    from ...lab.chaos.report import ChaosReport

COLUMNS = {"figure": "figure", "value": "value", "goal": "goal", "met": "met"}
HEAP_MB = 256


@click.command("chaos")
@click.option("--scenario", default="all", show_default=True, help="The scenario to run; --list shows all.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.25),
    help="Duration of load and faults; the number of faults is scaled to it.  [default: the scenario's]",
)
@click.option(
    "--seed", default=1, show_default=True, help="The same seed gives the same requests and the same faults."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="results/chaos",
    show_default=True,
    help="Folder for figures, timeline and logs, in a subfolder named after the scenario.",
)
@click.option("--list", "listing", is_flag=True, help="List the scenarios with their descriptions.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(scenario: str, minutes: float | None, seed: int, out: Path, listing: bool, as_json: bool) -> int:
    """Break brokers and workers under load, then audit the topics.

    Starts brokers and workers on this machine and ends them all afterwards. The exit status is 1 when
    a request was lost, a reply was out of the order of its key, or a final caption was not shown once.

    \b
      inferstream chaos                              all faults, ten minutes
      inferstream chaos --scenario kill_workers      one kind of fault
      inferstream chaos --minutes 1 --seed 7         shorter, with other times of the faults
    """
    if listing:
        known = [load_scenario(name) for name in scenario_names()]
        rows = [{"name": one.name, "seconds": one.seconds, "about": one.about} for one in known]
        print_table(rows, {"name": "scenario", "seconds": "seconds", "about": "description"}, as_json=as_json)
        return 0
    from ...kafka_local.cluster import LocalKafka
    from ...lab.chaos.runner import Runner

    chosen = load_scenario(scenario)
    folder = fresh_folder(out / scenario)
    seconds = minutes * 60 if minutes else chosen.seconds
    signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )  # SIGTERM then also ends all processes
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each killed broker
    console = Console(stderr=True, highlight=False)
    with (
        console.status(f"Starting Kafka, brokers: {chosen.brokers}") as status,
        tempfile.TemporaryDirectory(prefix="inferstream-chaos-") as data,
        LocalKafka(Path(data), brokers=chosen.brokers, port=0, heap_mb=HEAP_MB) as kafka,
    ):
        runner = Runner(chosen, kafka, folder, seconds=seconds, seed=seed, show=status.update)
        report = asyncio.run(runner.run())
    return show(report, folder, console, as_json=as_json)


def show(report: "ChaosReport", folder: Path, console: Console, *, as_json: bool) -> int:
    """Store and print the results of a run. Returns the exit status."""
    from ...lab.chaos.figures import ends_by_code, figures
    from ...lab.chaos.plot import plot

    found = figures(report)
    (folder / "report.json").write_bytes(msgspec.json.encode(report))
    (folder / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    plot(report, folder / "timeline.png")
    print_table([msgspec.to_builtins(figure) for figure in found], COLUMNS, as_json=as_json)
    ends = ", ".join(f"{count} {code}" for code, count in ends_by_code(report.seen).items())
    console.print(f"Ends: {ends}.", soft_wrap=True)
    console.print(f"The timeline, the figures and the workers' logs are in {folder}.", soft_wrap=True)
    return 0 if report.clean else 1


def fresh_folder(folder: Path) -> Path:
    """Create an empty folder. The folder of an earlier run is renamed to ``name.NUMBER``."""
    if folder.exists():
        number = 1
        while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        with suppress(OSError):
            folder.rename(kept)
    folder.mkdir(parents=True)
    return folder
