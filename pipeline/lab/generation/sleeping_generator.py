"""A worker of `generate` whose device only sleeps, as a process: `python -m … CONFIG`, CONFIG as JSON.

All but the steps of the model is what a worker of `generate` does. So a machine with few cores shows how workers share
the work when their devices are the limit.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ...config import Config
from ...engine.batching import Limits
from ...engine.engine import Engine
from ...engine.model_entry import ModelEntry
from ...models.registry import ModelRegistry
from ...runtime.generated_row import DECODE, PREFILL, GeneratedRow
from ...runtime.model import More, Row
from ...tasks.generate.definition import GENERATE
from ...tasks.generate.settings import GenerateSettings
from ..engine_worker import serve_engine
from ..sleeping import SleepTimes
from .endless import EndlessGenerate

TIMES: Final = SleepTimes(call_ms=20.0, row_ms=10.0)
"""A step of eight rows takes 100 ms: four times as long as that of the real model, so that the cores have time."""

MAX_ROWS: Final = 8


class SleepingDecoder:
    """Takes its time, and goes on with the last token of the prompt."""

    phases: Sequence[str] = (PREFILL, DECODE)

    def __init__(self, context: int) -> None:
        self._context = context

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `Model.step`."""
        TIMES.sleep(len(rows))
        return [self._stepped(row) for row in rows if isinstance(row, GeneratedRow)]

    def drop(self, rows: Sequence[Row]) -> None:
        """See `Model.drop`: nothing is kept."""

    def _stepped(self, row: GeneratedRow) -> Any:
        if row.phase == PREFILL:
            row.read += row.length
            if row.read < len(row.prompt):
                row.next_chunk()
                return More()
        return row.take(row.prompt[-1], self._context - len(row.prompt) - len(row.generated))


def command(config: Config) -> list[str]:
    """The command line that starts this worker."""
    return [sys.executable, "-m", __spec__.name, msgspec.json.encode(config).decode()]


async def serve(config: Config) -> None:
    """Serve until SIGTERM."""
    definition = EndlessGenerate()
    settings = config.of_task(GENERATE, GenerateSettings)
    loaded = definition.load(ModelRegistry(), settings.model, settings)
    decoder = SleepingDecoder(settings.context)
    device = TIMES.device(decoder, Limits(1_024, MAX_ROWS))
    task = loaded.make(None)  # type: ignore[arg-type]  # it makes nothing of the graph
    models = {GENERATE: {settings.model: ModelEntry(task, device)}}
    engine = Engine(models, memory=None, disk=None, clock=time.monotonic)
    await serve_engine(config, GENERATE, engine, kind=definition.contract.request)


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
