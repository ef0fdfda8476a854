"""The limit: tokenize all tickets, sort them by length, run them, with no queue, cache or reply in between."""

import threading
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from ...config import TriageConfig
from ...models.registry import ModelRegistry
from ...runtime.providers import default_lanes
from ...runtime.sessions import Session
from ...tasks.base import Row
from ...tasks.triage.loading import load_triage
from .runs import Cpu

BUDGETS = (128, 256, 512, 1_024)


class RawRun(Struct, frozen=True):
    """One pass over all tickets."""

    requests: int
    seconds: float
    cpu: Cpu
    budget: int

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


class RawLoop:
    """The same model on the same number of lanes as a worker's, with every ticket known beforehand."""

    def __init__(self, model: str) -> None:
        manifest, make = load_triage(ModelRegistry(), model, TriageConfig())
        self._session = Session(manifest.graph_path)
        self._task = make(self._session)
        self._lanes = default_lanes(self._session.provider)

    def run(self, texts: Sequence[str], budget: int) -> RawRun:
        """Tokenize, sort, and run batches of up to ``budget`` padded tokens."""
        began, cpu = time.perf_counter(), time.process_time()
        rows = sorted((row for rows in self._task.prepare(texts) for row in rows), key=len)
        batches = iter(_batches(rows, budget))
        lock = threading.Lock()
        lanes = [threading.Thread(target=self._lane, args=(batches, lock)) for _ in range(self._lanes)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        return RawRun(
            len(texts), time.perf_counter() - began, Cpu(time.process_time() - cpu, 0.0, 0.0), budget
        )

    def direct(self, texts: Iterable[str]) -> list[float]:
        """Milliseconds of a direct call for each text: tokenize, run, no company."""
        latencies_ms = []
        for text in texts:
            began = time.perf_counter()
            for row in self._task.prepare([text])[0]:
                self._session.run(self._task.collate([row]))
            latencies_ms.append((time.perf_counter() - began) * 1e3)
        return latencies_ms

    def _lane(self, batches: Iterable[Sequence[Row]], lock: threading.Lock) -> None:
        iterator = iter(batches)
        while True:
            with lock:
                batch = next(iterator, None)
            if batch is None:
                return
            self._session.run(self._task.collate(batch))


def _batches(rows: Sequence[Row], budget: int) -> list[Sequence[Row]]:
    """Rows in order of length, cut where the next row would pass the budget; the longest batches first."""
    batches: list[list[Row]] = [[]]
    for row in rows:
        if batches[-1] and len(row) * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(row)
    return list(reversed(batches))
