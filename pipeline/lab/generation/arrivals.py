"""Turns of one system: streams that begin at once, and prompts that arrive while others decode."""

import asyncio
import math
import time
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from .bench_prompt import BenchPrompt
from .generating_system import GeneratingSystem, streamed

ARRIVED_TOKENS = 16
LOOK_S = 0.002


class StreamsAtOnce(Struct, frozen=True):
    """Streams that began at once: the seconds to the last token of all, and to the first one of each."""

    tokens: int
    seconds: float
    first_s: list[float]

    @property
    def per_s(self) -> float:
        return self.tokens / self.seconds


class ArrivedPrompt(Struct, frozen=True):
    """A prompt that arrived while others decoded.

    Attributes:
        first_s: from when it was asked for to its first token.
        longest_gap_s: of the others, until then; endless if one of them had ended before.
        step_s: the mean gap of the others while nothing was read.
    """

    first_s: float
    longest_gap_s: float
    step_s: float


async def at_once(system: GeneratingSystem, prompts: Sequence[BenchPrompt], count: int) -> StreamsAtOnce:
    """All prompts at once, ``count`` tokens each."""
    began = time.perf_counter()
    all_times = await asyncio.gather(*(streamed(system, prompt, count) for prompt in prompts))
    seconds = max(times[-1] for times in all_times) - began
    return StreamsAtOnce(count * len(prompts), seconds, [times[0] - began for times in all_times])


async def arrival(
    system: GeneratingSystem, others: Sequence[BenchPrompt], prompt: BenchPrompt, count: int, settled: int
) -> ArrivedPrompt:
    """``prompt`` is asked for when each of the others has ``settled`` of its ``count`` tokens."""
    others_times: list[list[float]] = [[] for _ in others]
    running = [
        asyncio.create_task(system.stream(other, count, times))
        for other, times in zip(others, others_times, strict=True)
    ]
    while min(map(len, others_times)) < settled and not any(one.done() for one in running):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    asked = time.perf_counter()
    first = (await streamed(system, prompt, ARRIVED_TOKENS))[0]
    await asyncio.gather(*running)
    return _arrival(others_times, asked, first)


def _arrival(others: Sequence[Sequence[float]], asked: float, first: float) -> ArrivedPrompt:
    decoding = max(times[0] for times in others)
    gaps = [pair for times in others for pair in pairwise(times)]
    # The mean: tokens that come in one chunk have no gap between them.
    calm = [to - at for at, to in gaps if at >= first or (at >= decoding and to <= asked)]
    beside = [to - at for at, to in gaps if to >= asked and at <= first]
    ended = min(times[-1] for times in others) <= first
    longest = math.inf if ended else max(beside)
    return ArrivedPrompt(first - asked, longest, sum(calm) / len(calm) if calm else math.nan)
