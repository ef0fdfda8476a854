"""Rounds of generated texts: all systems have their turns with the same prompts."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from ..bench.bench import Progress
from ..bench.rounds import rotated
from .arrivals import ArrivedPrompt, StreamsAtOnce, arrival, at_once
from .bench_prompt import BenchPrompt
from .generating_system import GeneratingSystem, streamed

OURS: Final = "inferstream"
ENGINE: Final = "its engine without a broker"
PARTS: Final = 4

T = TypeVar("T")


class GenerationEffort(Struct, frozen=True):
    """How much is measured; lengths in tokens. Each of the others has ``settled`` tokens when a prompt arrives."""

    rounds: int = 5
    streams: int = 8
    count: int = 64
    others_count: int = 128
    settled: int = 10
    late: int = 37
    long: int = 500


QUICK: Final = GenerationEffort(rounds=1, streams=3, count=4, others_count=160, settled=1, late=9, long=40)


class RoundPrompts(Struct, frozen=True):
    """What is asked for in each round: ``questions`` at once, and two that arrive while others decode."""

    questions: list[BenchPrompt]
    late: BenchPrompt
    long: BenchPrompt


class GenerationRound(Struct, frozen=True):
    """One round: the turns by what ran."""

    alone: dict[str, StreamsAtOnce]
    together: dict[str, StreamsAtOnce]
    late: dict[str, ArrivedPrompt]
    long: dict[str, ArrivedPrompt]


class GenerationRounds:
    """Gives each system its turns; between them it is paused."""

    def __init__(
        self,
        systems: Mapping[str, GeneratingSystem],
        prompts: RoundPrompts,
        effort: GenerationEffort,
        progress: Progress,
    ) -> None:
        self._systems = systems
        self._prompts = prompts
        self._effort = effort
        self._progress = progress

    async def warm_up(self) -> None:
        """All that a turn does, once. Its figures are not counted."""
        questions, effort = self._prompts.questions, self._effort
        for name in self._systems:
            await self._turn(name, lambda system: at_once(system, questions, effort.settled))
            await self._turn(name, lambda system: at_once(system, [self._prompts.long], effort.settled))

    async def run(self, number: int) -> GenerationRound:
        """Round ``number``; the order of the systems is another one in each."""
        questions, effort = self._prompts.questions, self._effort
        others = questions[: effort.streams - 1]

        def arrives(prompt: BenchPrompt) -> Callable[[GeneratingSystem], Awaitable[ArrivedPrompt]]:
            return lambda system: arrival(system, others, prompt, effort.others_count, effort.settled)

        measured = [name for name in self._systems if name != ENGINE]
        return GenerationRound(
            await self._all(number, "one stream", lambda one: at_once(one, questions[:1], effort.count)),
            await self._all(number, "all streams", lambda one: at_once(one, questions, effort.count)),
            await self._all(number, "a late request", arrives(self._prompts.late), measured),
            await self._all(number, "a long prompt", arrives(self._prompts.long), measured),
        )

    async def _all(
        self,
        number: int,
        what: str,
        turn: Callable[[GeneratingSystem], Awaitable[T]],
        names: Sequence[str] | None = None,
    ) -> dict[str, T]:
        self._progress.turn(f"round {number + 1} of {self._effort.rounds}: {what}")
        order = rotated(names or list(self._systems), number)
        return {name: await self._turn(name, turn) for name in order}

    async def _turn(self, name: str, turn: Callable[[GeneratingSystem], Awaitable[T]]) -> T:
        system = self._systems[name]
        system.resume()
        try:
            await streamed(system, self._prompts.late, 2)  # the first request after a pause is slower
            return await turn(system)
        finally:
            system.pause()
