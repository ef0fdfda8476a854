"""Loops without a broker: our graph in ideal batches, and either engine with a given number of callers."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

from ...engine.cost import Cost
from ...graphs.marian.shortlist import Shortlist
from ...models.registry import ModelRegistry
from ...runtime.model import Row
from ...runtime.sessions import Session
from ...runtime.translator import Translator
from ...tasks.base import Ask, Finished
from ...tasks.translate.loading import load_translate
from ...tasks.translate.settings import TranslateSettings
from ..bench.runs import Cpu, Run

BUDGETS: Final = (256, 512, 768, 1_024, 1_536)
MAX_ROWS: Final = 64


class RawTranslations:
    """The same model and the same code that makes rows as in a worker; all texts of a turn are given at once."""

    def __init__(self, model: str) -> None:
        manifest, make, _ = load_translate(ModelRegistry(), model, TranslateSettings())
        assert manifest is not None
        session = Session(manifest.graph_path)
        self._model = Translator(session, Shortlist(manifest.shortlist_path))
        self._task = make(session)
        self._options = self._task.options({})
        self._cost = Cost()
        self._budget = BUDGETS[-1]

    def tune(self, texts: Sequence[str], lanes: int) -> None:
        """Keep the budget that needs the least CPU time for ``texts``."""
        cpu_ms = {}
        for budget in BUDGETS:
            self._budget = budget
            cpu_ms[budget] = self.ideal(texts, lanes).cpu_ms
        self._budget = min(cpu_ms, key=cpu_ms.__getitem__)

    def ideal(self, texts: Sequence[str], lanes: int) -> Run:
        """Rows sorted by length, in batches of at most the budget's tokens, the longest first."""
        began, cpu_began = time.perf_counter(), time.process_time()
        of_texts = self._rows(texts)
        rows = [row for rows in of_texts for row in rows]
        outputs: dict[Row, Any] = {}

        def step(batch: Sequence[Row]) -> None:
            outputs.update(zip(batch, self._model.step(batch), strict=True))

        def finish(of_text: Sequence[Row]) -> None:
            self._task.finish([Finished([outputs[row] for row in of_text], of_text, self._options)])

        in_lanes(self._packed(rows), step, lanes)
        in_lanes(of_texts, finish, lanes)
        self._cost.observe_outputs(rows)
        return Run(len(texts), time.perf_counter() - began, Cpu(time.process_time() - cpu_began))

    def alone(self, texts: Sequence[str]) -> Run:
        """One text after the other, each in a run of its own for each of its rows."""
        began, cpu_began = time.perf_counter(), time.process_time()
        for text in texts:
            for rows in self._rows([text]):
                outputs = [self._model.step([row])[0] for row in rows]
                self._task.finish([Finished(outputs, rows, self._options)])
        return Run(len(texts), time.perf_counter() - began, Cpu(time.process_time() - cpu_began))

    def _rows(self, texts: Sequence[str]) -> list[Sequence[Row]]:
        """Those of each text that needs the model."""
        prepared = self._task.prepare([Ask(text, self._options) for text in texts])
        return [rows for rows in prepared if not isinstance(rows, bytes)]

    def _packed(self, rows: Sequence[Row]) -> list[list[Row]]:
        batches: list[list[Row]] = [[]]
        longest = 0
        for row in sorted(rows, key=attrgetter("length"), reverse=True):
            batch = batches[-1]
            if batch and (len(batch) == MAX_ROWS or (len(batch) + 1) * longest > self._budget):
                batches.append(batch := [])
            if not batch:
                longest = self._cost.length(row)
            batch.append(row)
        return batches


def called(engine: Any, texts: Sequence[str], callers: int) -> tuple[Run, list[str]]:
    """The native engine: each caller translates one text after the other, which is all that it can."""
    began, cpu_began = time.perf_counter(), time.process_time()
    found: dict[int, str] = {}

    def translate(number: int) -> None:
        found[number] = engine.translate(texts[number])

    in_lanes(range(len(texts)), translate, callers)
    run = Run(len(texts), time.perf_counter() - began, Cpu(time.process_time() - cpu_began))
    return run, [found[number] for number in range(len(texts))]


def in_lanes(work: Sequence[Any], do: Callable[[Any], Any], lanes: int) -> None:
    """Do all of ``work`` in this many threads, each of which takes the next part when it is free."""
    waiting = iter(work)
    lock = threading.Lock()
    threads = [threading.Thread(target=_lane, args=(waiting, do, lock)) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _lane(waiting: Iterator[Any], do: Callable[[Any], Any], lock: threading.Lock) -> None:
    while True:
        with lock:
            part = next(waiting, None)
        if part is None:
            return
        do(part)
