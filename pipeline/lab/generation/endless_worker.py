"""A worker of `generate` whose texts end at their limit only: `python -m … CONFIG [CHUNK]`, CONFIG as JSON."""

import asyncio
import sys
import time

import msgspec

from ...config import Config
from ...engine.engine import Engine
from ...serving.loading import ModelLoader
from ...tasks.generate.definition import GENERATE
from ...telemetry import WorkerMetrics
from ..engine_worker import serve_engine
from .endless import EndlessGenerate


def command(config: Config, chunk: int | None = None) -> list[str]:
    """The command line that starts this worker. With ``chunk`` it reads prompts in chunks of that size."""
    given = [] if chunk is None else [str(chunk)]
    return [sys.executable, "-m", __spec__.name, msgspec.json.encode(config).decode(), *given]


async def serve(config: Config, chunk: int | None = None) -> None:
    """Serve until SIGTERM."""
    metrics = WorkerMetrics()
    definition = EndlessGenerate(chunk)
    entries = ModelLoader(config, metrics).entries(definition)
    engine = Engine({GENERATE: entries}, memory=None, disk=None, clock=time.monotonic)
    await serve_engine(config, GENERATE, engine, kind=definition.contract.request, metrics=metrics)


if __name__ == "__main__":
    given = [int(chunk) for chunk in sys.argv[2:]]
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config), *given))
