"""`inferstream chat`: a conversation with a model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import click

from ...client.generation.calls import TASK, TIMEOUT_S
from ...config import Config
from ...tasks.definition import TaskDefinition
from ..options.connection import connection
from ..options.fields import field_options
from ..options.of_tasks import OPTION, TaskCommand, task_options
from ..options.sending import HIGHER_FIRST, model_option, priority_option
from ..options.settings import KAFKA, KAFKA_ADDRESS, with_settings
from ..pipes.chat import Chat, is_terminal

LEFT_OUT: Final = ("n", "logprobs", "too_long")
"""Options that make no sense in a conversation: it shows one text, and forgets its oldest turns when it is long."""


class ChatOptions(TaskCommand):
    """Has the options of a generate request."""

    def options_of(self, named: Sequence[TaskDefinition]) -> Iterator[click.Option]:
        for one in named:
            options = one.contract.options
            yield from field_options(options, OPTION, prefix=one.name, taken=self.own_names, but=LEFT_OUT)

    def _words(self, args: Sequence[str]) -> Iterator[str]:
        return iter((TASK,))


@click.command("chat", cls=ChatOptions)
@click.option(
    "--system", metavar="TEXT", help="What the model is told before the conversation, e.g. 'Be brief.'"
)
@click.option(
    "--conversation",
    metavar="NAME",
    help="Name of the conversation: the record key of its requests.  [default: a new one]",
)
@click.option(
    "--kafka",
    **{
        **KAFKA_ADDRESS,
        "help": "Talk to the workers on this Kafka.  [default: run the model in this process]",
    },
)
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Talk to the worker that serves this folder (`inferstream worker generate --embedded`).",
)
@model_option("the worker's first model")
@priority_option(help=f"{HIGHER_FIRST}.  [default: normal]")
@click.option("--tenant", metavar="NAME", help="Tenant of the requests. Tenants never share cached answers.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds to wait for the end of an answer.",
)
@with_settings(KAFKA, kafka=False)
def command(
    system: str | None,
    conversation: str | None,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    model: str | None,
    timeout_s: float,
    **parameters: Any,
) -> int:
    """Talk to a model: each line is a turn, and its answer is shown while it is made.

    \b
    With the model in this process (fetch it first: `inferstream models pull smollm2-135m`):
      inferstream chat
    By the workers on Kafka, with a role and a longer answer:
      inferstream chat --kafka 127.0.0.1:9092 --system "You are a pirate." --max-tokens 512
    Turns from a pipe, one a line; the answers are on standard output:
      printf 'Hello\\nAnd in French?\\n' | inferstream chat

    Ctrl-C ends an answer; what was shown of it stays in the conversation. Ctrl-D, or Ctrl-C between two turns, ends
    the program. A conversation that is longer than the context of the model loses its oldest turns, but not what
    --system says.

    Exit status: 0; 3 if a line from a pipe has no answer; 1 if the broker cannot be reached; 2 for a wrong option.
    """
    options, how = task_options(parameters)
    how |= {"model": model, "timeout_s": timeout_s, "options": {"too_long": "window"} | options}
    how["conversation"] = conversation or f"chat-{token_hex(6)}"
    connecting = connection(
        TASK,
        [model] if model else [],
        config,
        kafka=kafka,
        embedded=embedded,
        timeout_s=timeout_s,
        options=options,
    )
    return Chat(system, is_terminal=is_terminal()).run(connecting, how)
