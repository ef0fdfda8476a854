"""`inferstream demo assistant`: conversations whose answers are shown while they are made."""

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from secrets import token_hex
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from ...config import Config
from ...lab.demo.assistant import AssistantResult, AssistantRun, converse
from ...lab.demo.conversations import ASSISTANT_TALKS
from ...lab.demo.shown_conversations import ShownConversation
from ...lab.demo.sites import DemoSite, DemoTask
from ...ops.audit.facts import Audited
from ...tasks.generate.settings import GenerateSettings
from ..options.settings import KAFKA, KAFKA_ADDRESS, with_settings
from ..output.assistant_screen import AssistantScreen
from .chosen_site import check_options, chosen_site

TASK: Final = "generate"
LOCAL_WORKERS: Final = 2
SHOWN: Final = 5


@click.command()
@click.option(
    "--kafka-local",
    is_flag=True,
    help="Start a real Kafka on this machine, and two worker processes, of which one is killed.",
)
@click.option("--kafka", **{**KAFKA_ADDRESS, "help": "Ask the workers on this Kafka, on any machine."})
@click.option(
    "--max-tokens",
    type=click.IntRange(1, 1_000),
    default=72,
    show_default=True,
    help="The most tokens of an answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print only the figures and the audit, as JSON.")
@with_settings(KAFKA, kafka=False)
def assistant(kafka_local: bool, kafka: str | None, max_tokens: int, as_json: bool, config: Config) -> int:
    """Show conversations with a small model side by side, token by token.

    Eight people ask two or three questions each; five of them are shown. The model has 135 million parameters: it
    writes well and knows little. With --kafka-local, one of two workers is killed in the middle; the other one goes
    on with its answers. At the end the topics are audited: each question must have its answer, and each
    request must have ended exactly once. Otherwise the exit status is 1.

    \b
      inferstream demo assistant                             in this process
      inferstream demo assistant --kafka-local               on a real Kafka; a worker is killed
      inferstream demo assistant --kafka 127.0.0.1:9092      with workers that you have started
    """
    check_options(kafka, kafka_local)
    screen = AssistantScreen(Console(quiet=as_json, highlight=False), SHOWN)
    screen.title("answers of a language model, token by token, for many people at once")
    shown = DemoTask(TASK, (config.of_task(TASK, GenerateSettings).model,))
    site = chosen_site(config, screen, shown, kafka, LOCAL_WORKERS if kafka_local else 0)
    conversations = [ShownConversation(number, talk) for number, talk in enumerate(ASSISTANT_TALKS)]
    run = AssistantRun(f"assistant-{token_hex(4)}", conversations, max_tokens)
    result = asyncio.run(_run(site, Audited.of(TASK, config), run, screen))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_summary(result)), indent=2))
    elif result.clean:
        screen.next_steps(kafka=bool(kafka or kafka_local))
    return 0 if result.clean else 1


async def _run(
    starting: AbstractAsyncContextManager[DemoSite],
    audited: Audited,
    run: AssistantRun,
    screen: AssistantScreen,
) -> AssistantResult:
    async with starting as site:
        with screen.live(run):
            result = await converse(site, audited, run, partial(screen.observe, run))
        screen.conversations(result)
    return result


def _summary(result: AssistantResult) -> dict[str, Any]:
    """Figures and audit for --json."""
    audit, figures, kill = result.audit, result.figures, result.run.kill
    return {
        "requests": audit.requests,
        "results": audit.results,
        "lost": audit.unended,
        "duplicated": audit.duplicated,
        "out_of_order": audit.out_of_order,
        "torn": audit.torn,
        "tokens": figures.tokens,
        "seconds": figures.seconds,
        "tokens_per_second": figures.tokens_a_second,
        "first_token_s": {"median": figures.first_median_s, "worst": figures.first_worst_s},
        "longest_pause_s": figures.longest_pause_s,
        "prompt_tokens": figures.prompt_tokens,
        "cached_tokens": figures.cached_tokens,
        "turns_with_cached_tokens": figures.hits,
        "batch_rows_mean": result.run.batches.mean,
        "killed_worker": kill and kill.number,
        "killed_answers": kill and kill.requests,
        "conversations": [
            {
                "name": one.talk.name,
                "turns": [
                    {
                        "question": turn.question,
                        "answer": turn.text,
                        "tokens": turn.tokens,
                        "first_token_s": turn.first_s,
                        "longest_pause_s": turn.longest_pause_s,
                        "error": turn.error or None,
                    }
                    for turn in one.turns
                ],
            }
            for one in result.run.conversations
        ],
    }
