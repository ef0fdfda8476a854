"""A worker of `triage` whose device only sleeps, as a process: `python -m … MODEL CONFIG`, CONFIG as JSON.

All but the runs of the encoder is what a worker does: so a machine with few cores shows how workers share the work when
their devices are the limit.
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
from ...models.registry import ModelRegistry
from ...runtime.encoder import Encoder
from ...runtime.graph import Feeds
from ...runtime.model import RUN
from ...runtime.sessions import Session
from ...serving.serving import Serving
from ...serving.task_workers import task_workers
from ...serving.tuning import tune_process
from ...tasks.triage.definition import TRIAGE
from ...tasks.triage.loading import load_triage
from ...tasks.triage.settings import TriageSettings
from ...telemetry import WorkerMetrics

CALL_MS: Final = 20.0
ROW_MS: Final = 40.0
"""About 24 rows a second: so slow that the cores have time to spare for four workers."""

MAX_ROWS: Final = 8


class SleepingEncoder:
    """Takes its time, and gives each text the vector of 0 in all dimensions."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        rows = len(feeds["input_ids"])
        time.sleep((CALL_MS + ROW_MS * rows) / 1e3)
        return [np.zeros((rows, self._dimensions), np.float32)]


def command(model: str, config: Config) -> list[str]:
    """The command line that starts this worker."""
    return [sys.executable, "-m", __spec__.name, model, msgspec.json.encode(config).decode()]


async def serve(model: str, config: Config) -> None:
    """Serve until SIGTERM."""
    # Not compared: the vectors say nothing, and a sample would soon leave all to the encoder.
    manifest, make, _ = load_triage(ModelRegistry(), model, TriageSettings(shadow=0.0))
    if manifest is None:
        raise SystemExit(f"{model} needs no device: give a model with an encoder.")
    task = make(Session(manifest.graph_path))  # the axis of urgency is computed on the real encoder
    graph = SleepingEncoder(manifest.dimensions)
    device = Device(
        Encoder(graph, manifest.pad_id),
        Limits(1_024, MAX_ROWS),
        {RUN: Cost((CALL_MS, ROW_MS, 1e-6, 1e-9))},
        LaneSettings(1, time.monotonic, time.monotonic),
    )
    served = {TRIAGE: {model: ModelEntry(task, device)}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    metrics = WorkerMetrics()
    async with KafkaBroker(config.kafka) as broker:
        topics = Topics(TRIAGE, config.kafka.topic_prefix)
        workers = task_workers(config, broker, topics, engine, metrics.of_task(TRIAGE))
        serving = Serving(broker, engine, [workers], metrics)
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Config)))
