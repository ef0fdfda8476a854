"""A worker of `generate` whose texts end at their limit only: `python -m … CONFIG [CHUNK]`, CONFIG as JSON."""

import asyncio
import signal
import sys
import time

import msgspec

from ....schemas.topics import Topics
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...engine.engine import Engine
from ...serving.loading import ModelLoader
from ...serving.serving import Serving
from ...serving.task_workers import task_workers
from ...serving.tuning import tune_process
from ...tasks.generate.definition import GENERATE
from ...telemetry import WorkerMetrics
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
    async with KafkaBroker(config.kafka) as broker:
        topics = Topics(GENERATE, config.kafka.topic_prefix)
        of_task = metrics.of_task(GENERATE)
        kind = definition.contract.request
        workers = task_workers(config, broker, topics, engine, of_task, kind=kind)
        serving = Serving(broker, engine, [workers], metrics)
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()


if __name__ == "__main__":
    given = [int(chunk) for chunk in sys.argv[2:]]
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config), *given))
