"""The command line. Each command is a module in `commands`, imported only when the command runs."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Final

import click

from .failures import flush_output, print_failure
from .groups import SuggestingGroup
from .options.variables import blame_variable, name_variables

SUMMARIES: Final = {
    "demo": "Show the pipeline at work: tickets through a queue, a model and a cache, with figures.",
    "request": "Send one text, or a file of any length, and print the answers.",
    "chat": "Talk to a model: answers are shown while they are made.",
    "translate": "Translate a file of subtitles or text: only the words change.",
    "worker": "Serve one or several tasks: read requests from Kafka or from a folder, and answer them, until stopped.",
    "models": "Fetch, list, publish and inspect the models that workers serve.",
    "optimize": "Make smaller and faster variants of a model by a recipe, and report what each keeps.",
    "tasks": "List the tasks of this installation, and print their JSON Schema.",
    "triage": "Adapt the triage of support tickets to your own categories, and measure it.",
    "topics": "Create and list the topics of a task.",
    "kafka": "Run a real Kafka on this machine, without Java or Docker, until stopped.",
    "bench": "Measure throughput, latency and memory, and compare them with simple baselines.",
    "bench-translate": "Measure translations beside the native engine of the same weights, and live captions.",
    "bench-assistant": "Measure generated texts beside llama.cpp and OpenVINO GenAI, on one core.",
    "audit": "Check from the topics alone that every request ended exactly once.",
    "dead-letters": "List, replay or purge requests that workers could not answer.",
    "chaos": "Kill brokers and workers under load, then audit the topics.",
}
"""The line of `--help` for each command, without importing it; in the order of `--help`."""


class LazyGroup(SuggestingGroup):
    """Imports a command when it is used: `worker` is the attribute `command` of `commands/worker.py`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in SUMMARIES if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES or not find_spec(_module(cmd_name)):
            return None
        command = import_module(_module(cmd_name)).command
        assert isinstance(command, click.Command)
        name_variables(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if names := self.list_commands(ctx):
            with formatter.section("Commands"):
                formatter.write_dl([(name, SUMMARIES[name]) for name in names])


def _module(name: str) -> str:
    return f"{__package__}.commands.{name.replace('-', '_')}"


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="inferstream")
def cli() -> None:
    """Streaming inference over Kafka: requests in, micro-batched through ONNX models, replies out.

    \b
    Start here:
      inferstream demo                                     the whole pipeline in this process
      inferstream request triage "I was charged twice"     one request of your own
      inferstream COMMAND --help                           options and examples of a command

    Each option can also be set by a variable of the command and the option: `--kafka` of `worker` by
    INFERSTREAM_WORKER_KAFKA, `--json` of `models list` by INFERSTREAM_MODELS_LIST_JSON.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 failure, 2 usage error, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal or file that cannot hold our text: escape it
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. Raises only defects of the program."""
    # If the broker is away, a client prints one sentence: hide what aiokafka logs. A worker configures
    # its own log.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        status = cli.main(arguments, prog_name="inferstream", standalone_mode=False)
        flush_output()
        return status if isinstance(status, int) else 0
    except click.Abort:
        return 130
    except click.ClickException as error:
        if isinstance(error, click.BadParameter):
            blame_variable(error)
        error.show()
        return error.exit_code
    except (Exception, BaseExceptionGroup) as error:
        return print_failure(error)


if __name__ == "__main__":
    main()
