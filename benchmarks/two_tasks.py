"""What a second task on the same encoder costs: triage alone, beside an idle `embed`, and with both busy.

    python benchmarks/two_tasks.py examples/tickets.jsonl 11      # texts, rounds

The tasks share one session and its lanes; no broker takes part, and the cache is off. Device time is the CPU time of
the lanes within the model. Prints medians over the rounds, with their quartiles.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import CacheConfig, Config
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.lab.bench.tickets import read_texts
from inferstream.pipeline.runtime.graph import Feeds, Graph
from inferstream.pipeline.serving.build import build_worker
from inferstream.schemas.messages import Request

REPEATS = 6
"""Turns of all texts in one measurement: the 100 examples alone take 0.2 s."""


class TimedGraph:
    """A graph that adds up the CPU time of its runs. A lane's update may be lost, which is rare."""

    def __init__(self, graph: Graph) -> None:
        self.seconds = 0.0
        self._graph = graph

    def run(self, feeds: Feeds) -> Sequence[Any]:
        began = time.thread_time()
        outputs = self._graph.run(feeds)
        self.seconds += time.thread_time() - began
        return outputs


class Served:
    """An engine with some tasks on one encoder."""

    def __init__(self, *tasks: str) -> None:
        self.graphs: list[TimedGraph] = []
        config = Config(cache=CacheConfig(enabled=False))
        self.engine: Engine = build_worker(
            config, EmbeddedBroker(), dict.fromkeys(tasks, ()), graph_of=self._timed
        ).engine

    def _timed(self, session: Graph) -> TimedGraph:
        self.graphs.append(TimedGraph(session))
        return self.graphs[-1]

    async def answer(self, texts: Sequence[str], *tasks: str) -> tuple[float, float, float]:
        """Requests a second, CPU milliseconds of a request, device milliseconds of a request."""
        jobs = [Job(task, Request(text=text)) for text in texts * REPEATS for task in tasks]
        device_began = self.device_s
        cpu_began = time.process_time()
        began = time.perf_counter()
        await asyncio.gather(*(self.engine.answer(job) for job in jobs))
        seconds = time.perf_counter() - began
        cpu_ms = (time.process_time() - cpu_began) * 1e3
        return len(jobs) / seconds, cpu_ms / len(jobs), (self.device_s - device_began) * 1e3 / len(jobs)

    @property
    def device_s(self) -> float:
        return sum(graph.seconds for graph in self.graphs)


def shown(name: str, values: Sequence[float]) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:62} {middle:.3f}  ({low:.3f} to {high:.3f})")


async def main(path: Path, rounds: int) -> None:
    texts = list(read_texts(path))
    alone, beside = Served("triage"), Served("triage", "embed")
    assert len(beside.graphs) == 1, "both tasks run one graph"
    figures: list[tuple[float, float, float, float]] = []
    async with alone.engine, beside.engine:
        for one in (alone, beside):
            await one.answer(texts, "triage")
        for _ in range(rounds):
            first = await alone.answer(texts, "triage")
            second = await beside.answer(texts, "triage")
            vectors = await beside.answer(texts, "embed")
            both = await beside.answer(texts, "triage", "embed")
            each_alone_ms = (second[2] + vectors[2]) / 2
            figures.append(
                (second[0] / first[0], first[1] / second[1], first[2] / second[2], each_alone_ms / both[2])
            )
    print(f"{len(texts) * REPEATS} requests of each task, {rounds} rounds; median and quartiles")
    names = (
        "triage beside an idle embed ÷ alone, requests/s",
        "the same, CPU time of a request, alone ÷ beside",
        "the same, device time of a request, alone ÷ beside",
        "both busy: device time of each alone ÷ of both together",
    )
    for name, values in zip(names, zip(*figures, strict=True), strict=True):
        shown(name, values)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
