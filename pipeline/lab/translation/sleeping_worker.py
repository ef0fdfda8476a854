"""A worker whose device only sleeps, as a process: `python -m … MODEL CONFIG`, CONFIG as JSON.

All but the runs of the graph is what a worker of `translate` does. So a machine with few cores shows how workers
share the work when their devices are the limit.
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
from ...engine.device import Device
from ...engine.engine import Engine
from ...engine.model_entry import ModelEntry
from ...graphs.marian.shortlist import Shortlist
from ...models.registry import ModelRegistry
from ...runtime.graph import Feeds
from ...runtime.translator import Translator
from ...tasks.translate.definition import TRANSLATE
from ...tasks.translate.loading import load_translate
from ...tasks.translate.settings import TranslateSettings
from ..engine_worker import serve_engine
from ..sleeping import SleepTimes

TIMES: Final = SleepTimes(call_ms=5.0, row_ms=10.0)
"""About 90 rows a second: ten times as slow as the real graph, so that the cores have time to spare."""

LIMITS: Final = Limits(1_024, 8)
FULL_PER_S: Final = TIMES.rows_per_s(LIMITS.max_rows)
"""Rows a second in full batches."""


class SleepingGraph:
    """Takes its time, and gives the source back as its translation."""

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        ids = feeds["input_ids"]
        TIMES.sleep(len(ids))
        return [ids, np.ones(len(ids), np.int64)]


def command(model: str, config: Config) -> list[str]:
    """The command line that starts this worker."""
    return [sys.executable, "-m", __spec__.name, model, msgspec.json.encode(config).decode()]


def _device(manifest: Any) -> Device:
    model = Translator(SleepingGraph(), Shortlist(manifest.shortlist_path))
    return TIMES.device(model, LIMITS)


async def serve(model: str, config: Config) -> None:
    """Serve until SIGTERM."""
    manifest, make, _ = load_translate(ModelRegistry(), model, TranslateSettings())
    served = {TRANSLATE: {model: ModelEntry(make(SleepingGraph()), _device(manifest))}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    await serve_engine(config, TRANSLATE, engine)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Config)))
