"""Generations in the lanes of an engine without a broker: against the loop of a generator, and beside arrivals.

    python benchmarks/generation_lanes.py [--rounds 3] [--core 1] [--many 5000]

The model is that of `inferstream models pull smollm2-135m`, in 4 bits; one lane on one core with the event loop. All is
greedy, and no stream ends before its limit. A step of others is the median of their gaps while nothing is read. With
``--many N``: N requests of 8 tokens follow, 32 at a time: the tokens per second of each tenth, and the memory.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import psutil
from msgspec import Struct

from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import More, Row
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.text import TextTask
from inferstream.schemas.messages import Request

STREAMS = 8
GENERATED = 64
LATE = 37
LONG = 500
CONTEXT = 1024
MANY_TOKENS = 8
AT_ONCE = 32


class TokensOptions(Struct, frozen=True, forbid_unknown_fields=True):
    max_tokens: int = GENERATED


class Tokens(TextTask):
    """Goes on with the numbers of a text, each of which is a token: so nothing but the engine is measured."""

    name = "tokens"
    version = "tokens-1"
    digest = b"tokens"
    model = "tokens"
    option_type = TokensOptions

    def repeats(self, options: TokensOptions) -> bool:
        return False

    def further_steps(self, ask: Ask) -> float:
        return float(ask.options.max_tokens - 1)

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        return [[GeneratedRow([*map(int, ask.content.split())], ask.options.max_tokens)] for ask in asks]

    def tell(self, pieces: Sequence[Any], start: int) -> bytes:
        return msgspec.json.encode(pieces[start:])

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [msgspec.json.encode(one.outputs[0].tokens) for one in finished]


class Lane:
    """An engine with one lane for a generator, or the generator's loop without it."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        costs = {phase: Cost() for phase in generator.phases}
        settings = LaneSettings(1, time.monotonic, time.thread_time)
        self._device = Device(generator, Limits(1_024, 64), costs, settings)
        self._device.learn(CONTEXT)
        models: Mapping[str, Mapping[str, ModelEntry]] = {
            "tokens": {"tokens": ModelEntry(Tokens(), self._device)}
        }
        self.engine = Engine(models, memory=None, disk=None, clock=time.monotonic)

    async def stream(self, prompt: Sequence[int], count: int) -> list[float]:
        """When each token came to the event loop."""
        times: list[float] = []

        def follow(flight: Flight) -> None:
            def came() -> None:
                times.extend([time.perf_counter()] * (len(flight.pieces) - len(times)))

            flight.watchers.append(came)

        request = Request(text=" ".join(map(str, prompt)), options={"max_tokens": count})
        await self.engine.answer(Job("tokens", request), follow)
        times.extend([time.perf_counter()] * (count - len(times)))
        return times

    def loop(self, prompts: Sequence[Sequence[int]], count: int) -> None:
        """A chunk of each new prompt, then a step of all rows, on the thread that calls."""
        live = [GeneratedRow(prompt, count) for prompt in prompts]
        while live:
            reading = [row for row in live if row.phase == PREFILL][:1]
            for batch in (reading, [row for row in live if row.phase == DECODE]):
                for row in batch:
                    row.fit(len(live) - len(batch))
                results = self._generator.step(batch) if batch else ()
                for row, result in zip(batch, results, strict=True):
                    if not isinstance(result, More):
                        live.remove(row)


def prompt(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(100, 40_000, length).tolist()  # type: ignore[no-any-return]


async def timed(lane: Lane, prompts: Sequence[Sequence[int]]) -> float:
    """Tokens per second of these streams."""
    began = time.perf_counter()
    await asyncio.gather(*(lane.stream(one, GENERATED) for one in prompts))
    return len(prompts) * GENERATED / (time.perf_counter() - began)


def looped(bare: Lane, prompts: Sequence[Sequence[int]]) -> float:
    began = time.perf_counter()
    bare.loop(prompts, GENERATED)
    return len(prompts) * GENERATED / (time.perf_counter() - began)


async def arrival(lane: Lane, length: int, streams: int, seed: int) -> tuple[float, float, float, float]:
    """A prompt of ``length`` comes while ``streams`` decode.

    Returns the milliseconds to its first token, the longest gap of the others meanwhile, and both in their steps.
    """
    others = [asyncio.create_task(lane.stream(prompt(24, n + seed), 4 * GENERATED)) for n in range(streams)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    while time.perf_counter() - began < 2.0:  # noqa: ASYNC110 - till all of them decode
        await asyncio.sleep(0.05)
    asked = time.perf_counter()
    times = await lane.stream(prompt(length, 1_000 + seed), 8)
    first = times[0]
    other_times = await asyncio.gather(*others)
    gaps = [(a, b - a) for one in other_times for a, b in pairwise(one)]
    step = statistics.median(gap for a, gap in gaps if a > times[-1])
    longest = max(gap for a, gap in gaps if asked - step <= a <= first)
    wait = first - asked
    return wait * 1e3, longest * 1e3, wait / step, longest / step


async def many(lane: Lane, count: int) -> None:
    """Requests of a few tokens, a fixed number at a time; figures for each tenth of them."""
    process = psutil.Process()
    room = asyncio.Semaphore(AT_ONCE)
    ended = 0
    marks = [(time.perf_counter(), time.process_time())]
    memory: list[int] = []

    async def one(number: int) -> None:
        nonlocal ended
        async with room:
            await lane.stream(prompt(8 + number % 8, number), MANY_TOKENS)
            ended += 1
            if ended % (count // 10) == 0:
                marks.append((time.perf_counter(), time.process_time()))
                memory.append(process.memory_info().rss)

    await asyncio.gather(*(one(number) for number in range(count)))
    tokens = count // 10 * MANY_TOKENS
    for clock, name in enumerate(("tokens/s", "tokens per second of CPU time")):
        rates = [tokens / (b[clock] - a[clock]) for a, b in pairwise(marks)]
        print(
            f"{count} requests of {MANY_TOKENS} tokens, {name} of each tenth:",
            *(f"{one:.0f}" for one in rates),
        )
        print(f"the last ÷ the first (≥ 0.97): {rates[-1] / rates[0]:.3f}")
    print("memory, MB:", *(f"{one / 1e6:.0f}" for one in memory))


def row(name: str, values: Sequence[float], goal: str = "") -> None:
    print(f"{name:<62} {statistics.median(values):>8.4g} {min(values):>8.4g} {max(values):>8.4g}   {goal}")


async def main(rounds: int, core: int, count: int) -> None:
    thread = ThreadPoolExecutor(1)  # a generator knows its lane by the thread
    os.sched_setaffinity(0, {core})
    session = Session(ModelRegistry().load("smollm2-135m-int4").graph_path, provider="cpu")
    lane, bare = (Lane(Generator(session, GeneratorSize(rows=STREAMS, context=CONTEXT))) for _ in range(2))
    prompts = [prompt(20 + 2 * number, number) for number in range(STREAMS)]
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> float:
        found.setdefault(name, []).append(value)
        return value

    loop = asyncio.get_running_loop()
    async with lane.engine:
        for number in range(rounds + 1):
            first = number == 0
            turns: list[Callable[[], Any]] = [
                lambda: timed(lane, prompts[:1]),
                lambda: loop.run_in_executor(thread, looped, bare, prompts[:1]),
                lambda: timed(lane, prompts),
                lambda: loop.run_in_executor(thread, looped, bare, prompts),
            ]
            one, bare_one, all_of_them, bare_all = [await turn() for turn in turns]
            if first:
                continue  # warm
            note("1 stream, tokens/s", one)
            note(f"{STREAMS} streams, tokens/s", all_of_them)
            note(f"{STREAMS} streams ÷ 1 stream", all_of_them / one)
            note("1 stream: engine ÷ the generator's loop", one / bare_one)
            note(f"{STREAMS} streams: engine ÷ the generator's loop", all_of_them / bare_all)
            late = await arrival(lane, LATE, STREAMS - 1, 10 * number)
            note(f"{LATE} tokens late, {STREAMS - 1} others: ms to the first token", late[0])
            note("the same in steps of the others", late[2])
            long = await arrival(lane, LONG, STREAMS - 1, 10 * number + 1)
            note(f"{LONG} tokens late: ms to the first token", long[0])
            note("longest gap of the others, ms", long[1])
            note("the same in their steps", long[3])
        goals = {
            f"{STREAMS} streams ÷ 1 stream": "≥ 2",
            "1 stream: engine ÷ the generator's loop": "≥ 0.95",
            f"{STREAMS} streams: engine ÷ the generator's loop": "≥ 0.95",
            "the same in their steps": "≤ 4",
        }
        print(f"{'':<62} {'median':>8} {'least':>8} {'most':>8}   goal")
        for name, values in found.items():
            row(name, values, goals.get(name, ""))
        sys.stdout.flush()
        if count:
            await many(lane, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--many", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.core, given.many))
