"""`inferstream demo`: starts a pipeline and sends tickets through it."""

import asyncio
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
from ...errors import UsageError
from ...lab.demo.demo import MAX_IN_FLIGHT, DemoResult, run_demo
from ...lab.demo.figures import Figures
from ...lab.demo.sites import DemoSite, DemoTask
from ...lab.demo.traffic import Traffic, load_tickets, plan_traffic
from ...ops.audit.facts import Audited
from ...tasks.triage.settings import TriageSettings
from ..demos.assistant import assistant
from ..demos.captions import translate
from ..demos.chosen_site import check_options, chosen_site
from ..groups import SuggestingGroup
from ..options.rows import dialect_given, dialect_options, text_column
from ..options.settings import KAFKA, KAFKA_ADDRESS, with_settings
from ..output.demo_screen import Screen, ShownTickets, live_figures

REDRAW_S: Final = 0.05
LOCAL_WORKERS: Final = 2
TASK: Final = "triage"


@click.group("demo", cls=SuggestingGroup, invoke_without_command=True)
@click.option(
    "--kafka-local",
    is_flag=True,
    help="Start a real Kafka on this machine, and worker processes.",
)
@click.option("--kafka", **{**KAFKA_ADDRESS, "help": "Send to the workers on this Kafka, on any machine."})
@click.option(
    "--requests",
    "count",
    type=click.IntRange(30),
    default=3_000,
    show_default=True,
    help="Number of requests.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=LOCAL_WORKERS,
    show_default=True,
    help="Number of worker processes with --kafka-local.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Other tickets: CSV or JSON Lines with a text and optionally a correct category.  [default: the examples]",
)
@text_column
@click.option(
    "--label",
    default="expected",
    show_default=True,
    metavar="COLUMN",
    help="Column with the correct category.",
)
@dialect_options
@click.option("--json", "as_json", is_flag=True, help="Print only the figures and the audit, as JSON.")
@with_settings(KAFKA, kafka=False)
def command(
    kafka_local: bool,
    kafka: str | None,
    count: int,
    workers: int,
    data: Path | None,
    as_json: bool,
    config: Config,
    text: str,
    label: str,
    **reading: Any,
) -> int:
    """Send support tickets through a durable queue and show how they are routed, with figures.

    `inferstream demo translate` shows live captions instead, `inferstream demo assistant` conversations with a language
    model; both have options of their own.

    Without an option, broker, worker and client run in this process. At the end the topics are audited: each
    request must have ended exactly once. Otherwise the exit status is 1.

    \b
      inferstream demo                             in this process
      inferstream demo --kafka-local               on a real Kafka, with two worker processes
      inferstream demo --kafka 127.0.0.1:9092      with workers that you have started
      inferstream demo translate                   live captions of five talks
      inferstream demo assistant                   conversations, token by token
    """
    if (context := click.get_current_context()).invoked_subcommand:
        _refuse_options(context)
        return 0
    check_options(kafka, kafka_local)
    screen = Screen(Console(quiet=as_json, highlight=False))
    dialect = dialect_given(data, reading) if data else None
    traffic = plan_traffic(load_tickets(data, text, label, dialect), count, f"demo-{token_hex(4)}")
    screen.title("support tickets through a durable queue, a model and a cache")
    shown = DemoTask(TASK, (config.of_task(TASK, TriageSettings).model,))
    site = chosen_site(config, screen, shown, kafka, workers if kafka_local else 0)
    result, shares = asyncio.run(_run(site, Audited.of(TASK, config), traffic, screen))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_summary(result, shares)), indent=2))
    elif result.clean:
        screen.next_steps(kafka=bool(kafka or kafka_local))
    return 0 if result.clean else 1


command.add_command(translate)
command.add_command(assistant)


def _refuse_options(context: click.Context) -> None:
    """Refuse an option that stands before the name of another demo: it would be ignored."""
    for name in context.params:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            demo = context.invoked_subcommand
            raise UsageError(f"Options stand behind the demo's name: `inferstream demo {demo} …`.")


async def _run(
    starting: AbstractAsyncContextManager[DemoSite], audited: Audited, traffic: Traffic, screen: Screen
) -> tuple[DemoResult, list[int]]:
    """Run and show the demo. Returns the result and the number of replies by each worker."""
    tickets = ShownTickets()
    drawn = 0.0
    async with starting as site:
        screen.announce(traffic)
        with screen.progress() as bar:
            task = bar.add_task("", total=len(traffic.requests), figures="")

            def observe(request: Request, answer: Answer[Any] | Failure, figures: Figures) -> None:
                nonlocal drawn
                tickets.add(request, answer)
                if figures.now - drawn > REDRAW_S or figures.replies == len(traffic.requests):
                    drawn = figures.now
                    bar.update(task, completed=figures.replies, figures=live_figures(figures))

            result = await run_demo(site.broker, site.client, audited, traffic, observe)
        shares = [await asyncio.to_thread(worker.replies) for worker in site.workers]
        screen.tickets(tickets)
        screen.failures(result.figures)
        screen.figures(result.figures, MAX_IN_FLIGHT, shares)
        screen.audit(result)
    return result, shares


def _summary(result: DemoResult, shares: list[int]) -> dict[str, Any]:
    """Figures and audit for --json."""
    figures = result.figures
    return {
        "requests": result.audit.requests,
        "terminal_events": result.terminal_events,
        "results": result.audit.results,
        "failures": result.failures,
        "dead_letters": result.audit.dead_letters,
        "lost": result.audit.unended,
        "duplicated": result.audit.duplicated,
        "seconds": figures.seconds,
        "replies_per_second": figures.per_second,
        "latency_ms": {f"p{percent}": figures.percentile_ms(percent) for percent in (50, 95, 99)},
        "answered_by": dict(figures.sources),
        "failure_codes": dict(figures.codes),
        "batch_rows_mean": figures.batches.mean,
        "padding_share": figures.batches.padding_share,
        "replies_by_worker": shares,
        "model": figures.model,
        "version": figures.version,
    }
