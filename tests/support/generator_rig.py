"""An engine over a generator of a tiny decoder, for tests of the engine."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.runtime.generated_row import DECODE, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.runtime.prefixes import Keeping
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.text import TextTask
from inferstream.schemas.messages import Request
from support.decoders import generate
from support.tiny_llama import WORDS

TIMEOUT_S = 10.0
ROWS = 4
CONTEXT = 250
LIMITS = Limits(1_024, 64)
WEIGHTS = (1.0, 0.01, 0.01, 1e-7)


class TokensOptions(Struct, frozen=True, forbid_unknown_fields=True):
    max_tokens: int = 8
    ends: list[int] = []


class Tokens(TextTask):
    """Goes on with the characters of a text, each of which is a token."""

    name = "tokens"
    version = "tokens-1"
    digest = b"tokens"
    model = "tiny"

    def options(self, given: Mapping[str, Any]) -> TokensOptions:
        return msgspec.convert(dict(given), TokensOptions)

    def repeats(self, options: TokensOptions) -> bool:
        return True

    def further_steps(self, ask: Ask) -> float:
        return float(ask.options.max_tokens - 1)

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        return [[GeneratedRow(ids_of(ask.content), ask.options.max_tokens, ask.options.ends)] for ask in asks]

    def tell(self, pieces: Sequence[Any], start: int) -> bytes:
        return msgspec.json.encode(pieces[start:])

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [msgspec.json.encode([one.outputs[0].tokens, list(one.pieces)]) for one in finished]


class Step(NamedTuple):
    """A step that began: its phase, the rows, and the tokens of each."""

    phase: str
    rows: tuple[Row, ...]
    lengths: tuple[int, ...]


class GeneratorRig:
    """``steps`` are those that began; ``hold`` stops the lanes before their next one."""

    def __init__(
        self,
        session: Session,
        *,
        rows: int = ROWS,
        lanes: int = 1,
        limits: Limits = LIMITS,
        cached: bool = True,
        note: CrashNote | None = None,
        step_ms: float = 1.0,
        kept: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.generator = Generator(session, GeneratorSize(rows=rows, context=CONTEXT), Keeping(kept))
        self.steps: list[Step] = []
        self._step_ms = step_ms
        self._changed = threading.Condition()
        self._permits: float = float("inf")
        self._run = self.generator.step
        self.generator.step = self._noted  # type: ignore[method-assign]
        self.costs = {phase: Cost(WEIGHTS) for phase in self.generator.phases}
        settings = LaneSettings(lanes, self.clock, self.clock)
        self.device = Device(self.generator, limits, self.costs, settings, note=note)
        self.task = Tokens()
        memory = MemoryCache(1_000_000) if cached else None
        models = {"tokens": {"tiny": ModelEntry(self.task, self.device)}}
        self.engine = Engine(models, memory=memory, disk=None, clock=self.clock)

    def job(self, text: str, max_tokens: int = 8, ends: Sequence[int] = (), **more: Any) -> Job:
        options = {"max_tokens": max_tokens, "ends": [*ends]}
        return Job("tokens", Request(text=text, options=options), **more)

    async def ask(self, text: str, max_tokens: int = 8, **more: Any) -> EngineAnswer:
        return await self.engine.answer(self.job(text, max_tokens, **more))

    def asked(self, text: str, max_tokens: int = 8, **more: Any) -> "asyncio.Task[EngineAnswer]":
        return asyncio.create_task(self.ask(text, max_tokens, **more))

    def hold(self, permits: float = 0) -> None:
        """Let so many steps begin from now on."""
        with self._changed:
            self._permits = permits
            self._changed.notify_all()

    def release(self) -> None:
        self.hold(float("inf"))

    async def begun(self, steps: int) -> None:
        """Wait until so many steps have begun in all, or one that is held would be that one."""
        await asyncio.to_thread(self._wait, steps)

    def of(self, text: str) -> list[Step]:
        """The steps with the row of this text."""
        prompt = ids_of(text)
        return [step for step in self.steps if any(row.prompt == prompt for row in step.rows)]  # type: ignore[attr-defined]

    def _wait(self, steps: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.steps) >= steps, TIMEOUT_S)

    def _noted(self, rows: Sequence[Row]) -> Sequence[Any]:
        with self._changed:
            self.steps.append(Step(rows[0].phase, tuple(rows), tuple(row.length for row in rows)))
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._permits > 0, TIMEOUT_S)
            self._permits -= 1
        self.clock.advance(self._step_ms / 1e3)
        return self._run(rows)


@asynccontextmanager
async def a_generator_rig(session: Session, **more: Any) -> AsyncIterator[GeneratorRig]:
    rig = GeneratorRig(session, **more)
    async with served(rig):
        yield rig


@asynccontextmanager
async def served(rig: GeneratorRig) -> AsyncIterator[None]:
    """At the end all memory is free, and nothing is left of the work that waits."""
    try:
        async with asyncio.timeout(60), rig.engine:
            yield
            rig.release()
    finally:
        rig.release()
    assert all(lane.memory.free_rows == rig.generator.rows for lane in rig.generator._lanes)
    assert abs(rig.device.batcher.backlog_ms) < 1e-9
    assert not rig.device.batcher._account._running


def ids_of(text: str) -> list[int]:
    return [ord(character) % WORDS for character in text]


def text_alone(session: Session, text: str, max_tokens: int = 8) -> list[int]:
    """What a generator of one row makes of it, without an engine."""
    generator = Generator(session, GeneratorSize(rows=1, context=CONTEXT))
    (made,) = generate(generator, [GeneratedRow(ids_of(text), max_tokens)])
    return made.tokens


def tokens_of(answer: EngineAnswer) -> list[int]:
    """Checks that the pieces are the text."""
    tokens, pieces = msgspec.json.decode(answer.output)
    assert tokens == pieces
    return tokens  # type: ignore[no-any-return]


def gaps(steps: Sequence[Step], row: Row) -> list[int]:
    """How many tokens of prompts are read between two decode steps of the row."""
    found = []
    read = 0
    for step in steps:
        if step.phase != DECODE:
            read += sum(step.lengths)
        elif row in step.rows:
            found.append(read)
            read = 0
    return found[1:]
