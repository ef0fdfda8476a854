"""`inferstream demo`: tickets through a pipeline that comes up before your eyes."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from ....schemas.messages import Failure, Request
from ...client.replies import Answer
from ...config import Config
from ...errors import ModelError, UsageError
from ...lab.demo.demo import MAX_IN_FLIGHT, Outcome, run_demo
from ...lab.demo.figures import Figures
from ...lab.demo.places import Place, in_this_process, on_local_kafka, with_your_workers
from ...lab.demo.traffic import Traffic, load_tickets, plan_traffic
from ..options.settings import KAFKA, overridden, with_settings
from ..output.demo_screen import Sample, Screen, live_figures

REDRAW_S: Final = 0.05
LOCAL_WORKERS: Final = 2


@click.command("demo")
@click.option(
    "--kafka-local",
    is_flag=True,
    help="Bring up a real Kafka on this machine, and worker processes of its own.",
)
@click.option("--kafka", metavar="HOST:PORT", help="Send to the workers on this Kafka, wherever they run.")
@click.option(
    "--requests",
    "count",
    type=click.IntRange(30),
    default=3_000,
    show_default=True,
    help="How many are sent.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=LOCAL_WORKERS,
    show_default=True,
    help="Worker processes of --kafka-local.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Other tickets: JSON lines with a "text", maybe an "expected" category.  [default: the examples]',
)
@click.option("--json", "as_json", is_flag=True, help="Print figures and audit as JSON, and nothing else.")
@with_settings(KAFKA, kafka=False)
def command(
    kafka_local: bool,
    kafka: str | None,
    count: int,
    workers: int,
    data: Path | None,
    as_json: bool,
    config: Config,
) -> int:
    """See it work: support tickets go onto a durable queue and come back routed, with figures.

    Without an option all of it runs in this process: broker, worker and client. At the end the topics are read
    back and counted: each request must have ended exactly once. The exit status is 1 when one has not.

    \b
      inferstream demo                             in this process
      inferstream demo --kafka-local               on a real Kafka, with two worker processes
      inferstream demo --kafka 127.0.0.1:9092      with workers of yours that run elsewhere
    """
    if kafka and kafka_local:
        raise UsageError("Give either --kafka or --kafka-local: the demo runs on one of them.")
    screen = Screen(Console(quiet=as_json, highlight=False))
    traffic = plan_traffic(load_tickets(data), count, f"demo-{token_hex(4)}")
    screen.title("support tickets through a durable queue, a model and a cache")
    if kafka:
        place = with_your_workers(overridden(config, {"kafka.bootstrap": kafka}), screen)
    else:
        _have_model(config.triage.model, screen)
        local = on_local_kafka(config, screen, workers) if kafka_local else None
        place = local or in_this_process(config, screen)
    outcome, shares = asyncio.run(_run(place, traffic, screen))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_summary(outcome, shares)), indent=2))
    elif outcome.verdict.clean:
        screen.next_steps(kafka=bool(kafka or kafka_local))
    return 0 if outcome.verdict.clean else 1


def _have_model(name: str, screen: Screen) -> None:
    """Fetch the model unless it is here. Raises ModelError where it cannot be had."""
    from ...models.registry import ModelRegistry, split_name

    registry, began = ModelRegistry(), time.monotonic()
    try:
        manifest = registry.load(name)
    except ModelError:
        from ...optimize.recipe import pull
        from ..output.pull_progress import pull_progress

        with pull_progress() as progress:
            pull(registry, split_name(name)[0], progress)
        manifest = registry.load(name)
        screen.ready(f"Model {name} fetched and built in {time.monotonic() - began:.0f} s.")
    size_mb = Path(manifest.graph_path).stat().st_size / 1e6
    agreement = manifest.agreement
    same = f", with the label of full precision on {agreement.label:.1%} of texts" if agreement else ""
    screen.ready(f"Model {name}: {size_mb:.0f} MB{same}.")


async def _run(
    connecting: AbstractAsyncContextManager[Place], traffic: Traffic, screen: Screen
) -> tuple[Outcome, list[int]]:
    """Run the demo and show it; the outcome, and the replies of each worker where they can be told."""
    sample, drawn = Sample(), 0.0
    async with connecting as place:
        screen.announce(traffic)
        with screen.progress() as bar:
            task = bar.add_task("", total=len(traffic.requests), figures="")

            def observed(request: Request, answer: Answer | Failure, figures: Figures) -> None:
                nonlocal drawn
                sample.add(request, answer)
                if figures.now - drawn > REDRAW_S or figures.replies == len(traffic.requests):
                    drawn = figures.now
                    bar.update(task, completed=figures.replies, figures=live_figures(figures))

            outcome = await run_demo(place.broker, place.client, place.topics, traffic, observed)
        shares = [await asyncio.to_thread(worker.replies) for worker in place.workers]
        screen.tickets(sample)
        screen.failures(outcome.figures)
        screen.figures(outcome.figures, MAX_IN_FLIGHT, shares)
        screen.verdict(outcome.verdict)
    return outcome, shares


def _summary(outcome: Outcome, shares: list[int]) -> dict[str, Any]:
    """Figures and audit for a script."""
    figures, verdict = outcome.figures, outcome.verdict
    return {
        "requests": verdict.requests,
        "terminal_events": verdict.terminal_events,
        "results": verdict.results,
        "failures": verdict.failures,
        "dead_letters": verdict.dead_letters,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "seconds": figures.seconds,
        "replies_per_second": figures.per_second,
        "latency_ms": {f"p{share}": figures.percentile_ms(share / 100) for share in (50, 95, 99)},
        "answered_by": dict(figures.sources),
        "failure_codes": dict(figures.codes),
        "batch_rows_mean": figures.mean_batch,
        "padding_share": figures.padding_share,
        "replies_by_worker": shares,
        "model": figures.model,
        "version": figures.version,
    }
