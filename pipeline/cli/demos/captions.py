"""`inferstream demo translate`: live captions of several talks."""

import asyncio
from contextlib import AbstractAsyncContextManager
from itertools import cycle, islice
from secrets import token_hex
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from ...client.captions.modes import MODES, Mode
from ...config import Config
from ...lab.demo.batches import RanBatches
from ...lab.demo.captions import WORDS_A_SECOND, CaptionsResult, ShownTalk, Tempo, play
from ...lab.demo.sites import DemoSite, DemoTask
from ...lab.demo.talks import TALKS
from ...ops.audit.facts import Audited
from ..options.settings import KAFKA, KAFKA_ADDRESS, with_settings
from ..output.captions_screen import CaptionsScreen
from .chosen_site import check_options, chosen_site

SHOWN: Final = DemoTask("translate", ("translate-en-pt-int8", "translate-pt-en-int8"))
LOCAL_WORKERS: Final = 2


@click.command()
@click.option(
    "--kafka-local", is_flag=True, help="Start a real Kafka on this machine, and two worker processes."
)
@click.option("--kafka", **{**KAFKA_ADDRESS, "help": "Send to the workers on this Kafka, on any machine."})
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="stable",
    show_default=True,
    help="What a viewer sees before a segment is complete. stable: words that two translations in a row agree on. "
    "live: each translation at once, though words change. final: nothing.",
)
@click.option(
    "--words-per-second",
    type=click.FloatRange(0.5, 1_000),
    default=WORDS_A_SECOND,
    show_default=True,
    help="How fast each talk is spoken.",
)
@click.option(
    "--streams",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Number of streams. The first five are shown; the others speak the same words, so that batches fill.",
)
@click.option("--json", "as_json", is_flag=True, help="Print only the figures and the audit, as JSON.")
@with_settings(KAFKA, kafka=False)
def translate(
    kafka_local: bool,
    kafka: str | None,
    mode: Mode,
    words_per_second: float,
    streams: int,
    as_json: bool,
    config: Config,
) -> int:
    """Show live captions: talks at the speed of speech, translated while they are spoken.

    Each talk is a stream: its segments grow by partials of a few words, and end with a final. Four of
    five talks are in English, one is in Portuguese. At the end the topics are audited: each segment must have its
    final, and each request must have ended exactly once. Otherwise the exit status is 1.

    \b
      inferstream demo translate                             in this process
      inferstream demo translate --mode live                 see words that change
      inferstream demo translate --kafka-local               on a real Kafka, with two worker processes
      inferstream demo translate --kafka 127.0.0.1:9092      with workers that you have started
    """
    check_options(kafka, kafka_local)
    screen = CaptionsScreen(Console(quiet=as_json, highlight=False), len(TALKS))
    screen.title("live captions, translated while the talks are spoken")
    site = chosen_site(config, screen, SHOWN, kafka, LOCAL_WORKERS if kafka_local else 0)
    audited = Audited.of(SHOWN.task, config)
    result = asyncio.run(_run(site, audited, Tempo(words_per_second, mode), streams, screen))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_summary(result)), indent=2))
    elif result.clean:
        screen.next_steps(kafka=bool(kafka or kafka_local))
    return 0 if result.clean else 1


async def _run(
    starting: AbstractAsyncContextManager[DemoSite],
    audited: Audited,
    tempo: Tempo,
    streams: int,
    screen: CaptionsScreen,
) -> CaptionsResult:
    talks = [ShownTalk(number, talk) for number, talk in enumerate(islice(cycle(TALKS), streams))]
    batches = RanBatches()
    async with starting as site:
        with screen.live(talks, batches):
            result = await play(
                site, audited, talks, f"captions-{token_hex(4)}", tempo, batches, screen.observe
            )
        screen.captions(result)
    return result


def _summary(result: CaptionsResult) -> dict[str, Any]:
    """Figures and audit for --json."""
    return {
        "requests": result.audit.requests,
        "results": result.audit.results,
        "superseded": result.audit.superseded,
        "lost": result.audit.unended,
        "duplicated": result.audit.duplicated,
        "out_of_order": result.audit.out_of_order,
        "batch_rows_mean": result.batches.mean,
        "streams": [
            {"name": one.talk.name, "source": one.talk.source, "target": one.talk.target}
            | msgspec.to_builtins(one.report)
            for one in result.talks
        ],
    }
