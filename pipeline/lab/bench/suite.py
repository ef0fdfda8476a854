"""The order of the measurements: what is compared runs in turn, so that a drifting machine hits both alike."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
import psutil
from msgspec import Struct

from ...config import CacheConfig, Config
from .children import child, echo, worker
from .latency import Paced, paced
from .raw import BUDGETS, RawLoop, RawRun
from .runs import Bench, Child, Run
from .tickets import mixed

INT8, FP32 = "minilm-int8", "minilm-fp32"
Tell = Callable[[str], None]


class Effort(Struct, frozen=True):
    """How much is measured."""

    requests: int = 2_000
    rounds: int = 3
    cached_requests: int = 40_000
    memory_requests: int = 100_000
    paced_requests: int = 500
    paced_per_s: float = 50.0
    load_s: float = 10.0
    loads: tuple[float, ...] = (0.25, 0.6)


class Round(Struct, frozen=True):
    """Everything at full load once, one after the other."""

    raw: RawRun
    learned: Run
    single: Run
    fifo: Run
    fp32: Run
    cached: Run
    echo: Run


class Steady(Struct, frozen=True):
    """The learned plan and one at a time at the same rate."""

    offered_per_s: float
    learned: Paced
    single: Paced


class Added(Struct, frozen=True):
    """What a caller waits for, and the two parts that cannot be avoided. In ms, one a request."""

    pipeline: list[float]
    direct: list[float]
    echo: list[float]


class Measured(Struct, frozen=True):
    """All that the figures are made of."""

    rounds: list[Round]
    steady: list[Steady]
    added: Added
    memory: Run | None


class Suite:
    """Measures on one Kafka with one set of texts."""

    def __init__(self, bench: Bench, texts: Sequence[str], effort: Effort, tell: Tell) -> None:
        self._bench, self._texts = bench, texts
        self._effort, self._tell = effort, tell
        self._raw = RawLoop(INT8)

    async def measure(self) -> Measured:
        """Run it all: minutes."""
        texts = mixed(self._texts, self._effort.requests, seed=0)
        self._tell("finding the raw loop's best token budget")
        budget = max(BUDGETS, key=lambda budget: self._raw.run(texts, budget).per_s)
        rounds = [await self._round(number, texts, budget) for number in range(1, self._effort.rounds + 1)]
        steady = [await self._steady(load, rounds) for load in self._effort.loads]
        return Measured(rounds, steady, await self._added(), await self._memory())

    async def _round(self, number: int, texts: Sequence[str], budget: int) -> Round:
        of = f"round {number} of {self._effort.rounds}"
        self._tell(f"{of}: raw loop")
        raw = self._raw.run(texts, budget)
        runs = {}
        for name, policy, model in (
            ("learned", "learned", INT8),
            ("single", "single", INT8),
            ("fifo", "fifo", INT8),
            ("fp32", "learned", FP32),
        ):
            self._tell(f"{of}: {name}")
            runs[name] = await self._bench.drain(texts, serving(policy, model))
        self._tell(f"{of}: cached, then a bare echo loop")
        many = mixed(self._texts, self._effort.cached_requests, seed=number)
        return Round(
            raw=raw, **runs, cached=await self._cached(many), echo=await self._bench.drain(many, echoing)
        )

    async def _cached(self, texts: Sequence[str]) -> Run:
        """A worker that finds every answer in the disk cache of an earlier one."""
        with tempfile.TemporaryDirectory() as folder:
            await self._bench.drain(self._texts, serving("learned", INT8, cache=folder))
            return await self._bench.drain(texts, serving("learned", INT8, cache=folder))

    async def _steady(self, load: float, rounds: Sequence[Round]) -> Steady:
        """``load`` is a share of what one at a time reached at full load."""
        rate = load * statistics.median(round_.single.per_s for round_ in rounds)
        texts = mixed(self._texts, round(rate * self._effort.load_s), seed=1)
        self._tell(f"{rate:.0f} requests/s, learned and one at a time")
        runs = [await self._paced(texts, rate, serving(policy, INT8)) for policy in ("learned", "single")]
        return Steady(rate, *runs)

    async def _added(self) -> Added:
        texts = mixed(self._texts, self._effort.paced_requests, seed=2)
        self._tell(f"added latency at {self._effort.paced_per_s:.0f} requests/s")
        pipeline = await self._paced(texts, self._effort.paced_per_s, serving("learned", INT8))
        echoed = await self._paced(texts, self._effort.paced_per_s, echoing)
        return Added(pipeline.latencies_ms, self._raw.direct(texts), echoed.latencies_ms)

    async def _memory(self) -> Run | None:
        count = self._effort.memory_requests
        if not count:
            return None
        self._tell(f"memory over {count} requests")
        return await self._bench.drain(mixed(self._texts, count, seed=3), serving("learned", INT8))

    async def _paced(self, texts: Sequence[str], per_s: float, process: Child) -> Paced:
        return await paced(self._bench, texts, per_s, process)


def serving(policy: str, model: str, *, cache: str | None = None) -> Child:
    """A worker process with this batching policy, and a cache in the folder ``cache`` if there is one."""
    caching = CacheConfig(enabled=cache is not None, directory=cache)
    return lambda config: child(worker, msgspec.structs.replace(config, cache=caching), policy, model)


def echoing(config: Config) -> AbstractContextManager[psutil.Process]:
    """A bare echo loop."""
    return child(echo, config)
