"""A worker of the task `generate` with a tiny decoder; also a program, which a test may kill."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.config import (
    CacheConfig,
    Config,
    EngineConfig,
    KafkaConfig,
    LimitConfig,
    RetryConfig,
    WindowConfig,
)
from inferstream.pipeline.runtime.generated_row import DECODE, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.serving.build import build_worker
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.tasks.generate import loading
from support.decoder_home import TINY
from support.steps_worker import broker_at

ROWS: Final = 4
CONTEXT: Final = 256
ENDS: Final = "\N{SKULL AND CROSSBONES}".encode()
"""A prompt that has it ends the process at its first token."""


def generate_config(prefix: str, *, cached: bool = False, lanes: int = 1, **generate: Any) -> Config:
    """Two partitions. ``generate``: settings of the task."""
    return Config(
        kafka=KafkaConfig(partitions=2, topic_prefix=prefix),
        window=WindowConfig(commit_interval_ms=50, drain_timeout_ms=10_000),
        retries=RetryConfig(tiers_s=[1], max_attempts=3),
        cache=CacheConfig(enabled=cached, disk_bytes=0),
        engine=EngineConfig(lanes=lanes),
        limits=LimitConfig(max_request_tokens=30_000),
        tasks={"generate": {"model": TINY, "rows": ROWS, "context": CONTEXT, **generate}},
    )


def generate_worker(broker: Broker, prefix: str, *, cached: bool = False, **generate: Any) -> Serving:
    """The workers of the task, with the tiny decoder of this home folder; not started."""
    return build_worker(generate_config(prefix, cached=cached, **generate), broker, {"generate": []})


class Steps:
    """The steps of a generator, which a test can look at and hold."""

    def __init__(self) -> None:
        self.prefills = 0
        self.decoded: list[int] = []
        """The rows of each step behind the prompts."""
        self._hold: Callable[[Sequence[Row]], bool] = lambda _: False
        self._held = threading.Event()
        self._go_on = threading.Event()

    def hold(self, when: Callable[[Sequence[Row]], bool]) -> None:
        """Hold the first step for which this is so, before it runs, until `go_on`."""
        self._held.clear()
        self._go_on.clear()
        self._hold = when

    def wait_held(self) -> None:
        """Wait until a step is held."""
        assert self._held.wait(30)

    def go_on(self) -> None:
        self._hold = lambda _: False
        self._go_on.set()

    def before(self, rows: Sequence[Row]) -> None:
        if rows[0].phase == DECODE:
            self.decoded.append(len(rows))
        else:
            self.prefills += len(rows)
        if self._hold(rows):
            self._held.set()
            assert self._go_on.wait(30)


@contextmanager
def watched_steps() -> Iterator[Steps]:
    """The steps of all generators that are made inside."""
    steps = Steps()

    class WatchedGenerator(Generator):
        def step(self, rows: Sequence[Row]) -> Sequence[Any]:
            steps.before(rows)
            return super().step(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "Generator", WatchedGenerator)
        try:
            yield steps
        finally:
            steps.go_on()


class SlowGenerator(Generator):
    """Sleeps in each step; ends the process at a prompt with `ENDS`."""

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        time.sleep(0.005)
        for row in rows:
            if isinstance(row, GeneratedRow) and _has(row.prompt, ENDS):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(rows)


def _has(prompt: Sequence[int], wanted: bytes) -> bool:
    """Whether tokens of single bytes, whose numbers follow those of three special ones, have these bytes."""
    from inferstream.pipeline.runtime.text_stream import BYTES
    from support.tiny_llama import TOKENS

    made = bytes(BYTES[TOKENS[token]] for token in prompt if len(TOKENS[token]) == 1)
    return wanted in made


def main(place: str, prefix: str) -> None:
    """Serve a folder, or the Kafka at an address, until SIGTERM. The home folder has the tiny decoder."""
    loading.Generator = SlowGenerator  # type: ignore[misc]
    broker = broker_at(place)
    serving = generate_worker(broker, prefix)

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    main(*sys.argv[1:])
