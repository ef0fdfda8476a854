"""A worker whose device only sleeps, as a process: `python -m … MODEL CONFIG`, CONFIG as JSON.

All but the runs of the graph is what a worker of `translate` does. So a machine with few cores shows how workers
share the work when their devices are the limit.
"""

import asyncio
import signal
import sys
import time
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....schemas.topics import Topics
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...engine.batching import Limits
from ...engine.cost import Cost
from ...engine.device import Device
from ...engine.engine import Engine
from ...engine.lanes import LaneSettings
from ...engine.model_entry import ModelEntry
from ...graphs.marian.shortlist import Shortlist
from ...models.registry import ModelRegistry
from ...runtime.graph import Feeds
from ...runtime.model import RUN
from ...runtime.translator import Translator
from ...serving.serving import Serving
from ...serving.task_workers import task_workers
from ...serving.tuning import tune_process
from ...tasks.translate.definition import TRANSLATE
from ...tasks.translate.loading import load_translate
from ...tasks.translate.settings import TranslateSettings
from ...telemetry import WorkerMetrics

CALL_MS: Final = 5.0
ROW_MS: Final = 10.0
"""About 90 rows a second: ten times as slow as the real graph, so that the cores have time to spare."""

MAX_ROWS: Final = 8
FULL_PER_S: Final = MAX_ROWS / (CALL_MS + ROW_MS * MAX_ROWS) * 1e3
"""Rows a second in full batches."""


class SleepingGraph:
    """Takes its time, and gives the source back as its translation."""

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        ids = feeds["input_ids"]
        time.sleep((CALL_MS + ROW_MS * len(ids)) / 1e3)
        return [ids, np.ones(len(ids), np.int64)]


def command(model: str, config: Config) -> list[str]:
    """The command line that starts this worker."""
    return [sys.executable, "-m", __spec__.name, model, msgspec.json.encode(config).decode()]


def _device(manifest: Any) -> Device:
    model = Translator(SleepingGraph(), Shortlist(manifest.shortlist_path))
    costs = {RUN: Cost((CALL_MS, ROW_MS, 1e-6, 1e-9))}
    return Device(model, Limits(1_024, MAX_ROWS), costs, LaneSettings(1, time.monotonic, time.monotonic))


async def serve(model: str, config: Config) -> None:
    """Serve until SIGTERM."""
    manifest, make, _ = load_translate(ModelRegistry(), model, TranslateSettings())
    served = {TRANSLATE: {model: ModelEntry(make(SleepingGraph()), _device(manifest))}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    metrics = WorkerMetrics()
    async with KafkaBroker(config.kafka) as broker:
        topics = Topics(TRANSLATE, config.kafka.topic_prefix)
        workers = task_workers(config, broker, topics, engine, metrics.of_task(TRANSLATE))
        serving = Serving(broker, engine, [workers], metrics)
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Config)))
