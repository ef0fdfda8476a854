"""The limit: tokenize all tickets, sort them by length and run them, without a queue, a cache or replies."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ...models.registry import ModelRegistry
from ...runtime.encoder import Encoder
from ...runtime.model import Row
from ...runtime.providers import default_lanes
from ...runtime.sessions import Session
from ...tasks.base import Ask
from ...tasks.pooling import pack
from ...tasks.triage.loading import load_triage
from ...tasks.triage.settings import TriageSettings
from .runs import Cpu, Run

BUDGETS: Final = (128, 256, 512, 1_024)


class RawLoop:
    """The same model on as many lanes as a worker has; all tickets of a turn are given at once."""

    def __init__(self, model: str) -> None:
        manifest, make, _ = load_triage(ModelRegistry(), model, TriageSettings())
        assert manifest is not None
        session = Session(manifest.graph_path)
        self._model = Encoder(session, manifest.pad_id)
        self._task = make(session)
        self._lanes = default_lanes(session.provider)
        self._budget = BUDGETS[-1]

    def tune(self, texts: Sequence[str]) -> None:
        """Keep the token budget of `BUDGETS` that needs the least CPU time for ``texts``.

        The lanes are always busy, so it is the fastest too; CPU time is not disturbed by other processes.
        """
        cpu_ms = {}
        for budget in BUDGETS:
            self._budget = budget
            cpu_ms[budget] = self.answer_all(texts).cpu_ms
        self._budget = min(cpu_ms, key=cpu_ms.__getitem__)

    def answer_all(self, texts: Sequence[str]) -> Run:
        """Tokenize, sort, and run batches of at most the budget's padded tokens."""
        began = time.perf_counter()
        cpu_began = time.process_time()
        rows = self._rows(texts)
        # The longest batches first, so that no lane runs a long one alone at the end.
        packed = reversed(pack([row.tokens for row in rows], self._budget))
        batches = iter([[rows[i] for i in batch] for batch in packed])
        lock = threading.Lock()
        lanes = [threading.Thread(target=self._lane, args=(batches, lock)) for _ in range(self._lanes)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        cpu = Cpu(time.process_time() - cpu_began)
        return Run(len(texts), time.perf_counter() - began, cpu)

    def direct(self, texts: Iterable[str]) -> list[float]:
        """Milliseconds to tokenize and run each text, one after the other."""
        latencies_ms = []
        for text in texts:
            began = time.perf_counter()
            for row in self._rows([text]):
                self._model.step([row])
            latencies_ms.append((time.perf_counter() - began) * 1e3)
        return latencies_ms

    def _rows(self, texts: Sequence[str]) -> list[Row]:
        options = self._task.options({})
        prepared = self._task.prepare([Ask(text, options) for text in texts])
        return [row for rows in prepared if not isinstance(rows, bytes) for row in rows]

    def _lane(self, batches: Iterator[Sequence[Row]], lock: threading.Lock) -> None:
        while True:
            with lock:
                batch = next(batches, None)
            if batch is None:
                return
            self._model.step(batch)
