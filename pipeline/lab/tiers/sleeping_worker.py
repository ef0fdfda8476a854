"""A worker of `triage` whose device only sleeps, as a process: `python -m … MODEL CONFIG`, CONFIG as JSON.

All but the runs of the encoder is what a worker does: so a machine with few cores shows how workers share the work when
their devices are the limit.
"""

import asyncio
import sys
import time
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...config import Config
from ...engine.batching import Limits
from ...engine.engine import Engine
from ...engine.model_entry import ModelEntry
from ...models.registry import ModelRegistry
from ...runtime.encoder import Encoder
from ...runtime.graph import Feeds
from ...runtime.sessions import Session
from ...tasks.triage.definition import TRIAGE
from ...tasks.triage.loading import load_triage
from ...tasks.triage.settings import TriageSettings
from ..engine_worker import serve_engine
from ..sleeping import SleepTimes

TIMES: Final = SleepTimes(call_ms=20.0, row_ms=40.0)
"""About 24 rows a second: so slow that the cores have time to spare for four workers."""

LIMITS: Final = Limits(1_024, 8)


class SleepingEncoder:
    """Takes its time, and gives each text the vector of 0 in all dimensions."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        rows = len(feeds["input_ids"])
        TIMES.sleep(rows)
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
    device = TIMES.device(Encoder(graph, manifest.pad_id), LIMITS)
    served = {TRIAGE: {model: ModelEntry(task, device)}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    await serve_engine(config, TRIAGE, engine)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Config)))
