"""The parts of `bench-assistant`, each with systems of its own."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ..bench.bench import Bench, Progress
from ..bench.figures import BenchFigure
from .exact_suite import QUICK_EXACT, ExactEffort, ExactSuite
from .figures import generation_figures, generation_speeds
from .generation_rounds import QUICK, GenerationEffort
from .other_figures import exact_figures, prefix_figures, scaling_figures
from .prefix_suite import QUICK_PREFIXES, PrefixEffort, PrefixSuite
from .scaling_suite import QUICK_SCALING, ScalingEffort, ScalingSuite
from .suite import GenerationSuite


class BenchAsked(Struct, frozen=True):
    """What is measured: ``rounds`` of a part, or what a quick run has. ``peers``: the Python of their environment."""

    model: str
    peers: str | None
    rounds: int
    quick: bool


class BenchPart(Struct, frozen=True):
    """What a part found: its figures, all values, and rows for a table of the systems, if it has one."""

    figures: list[BenchFigure]
    values: Any
    speeds: list[Any] = []


async def speed_part(bench: Bench, asked: BenchAsked, progress: Progress) -> BenchPart:
    """Beside the peers, and beside the engine without a broker."""
    effort = QUICK if asked.quick else replace(GenerationEffort(), rounds=asked.rounds)
    measured = await GenerationSuite(bench, asked.model, asked.peers, effort, progress).measure()
    return BenchPart(generation_figures(measured), measured, list(generation_speeds(measured.rounds)))


async def prefix_part(bench: Bench, asked: BenchAsked, progress: Progress) -> BenchPart:
    """Prompts that share their beginning."""
    effort = QUICK_PREFIXES if asked.quick else replace(PrefixEffort(), rounds=asked.rounds)
    measured = await PrefixSuite(bench, asked.model, effort, progress).measure()
    return BenchPart(prefix_figures(measured), measured)


async def scaling_part(bench: Bench, asked: BenchAsked, progress: Progress) -> BenchPart:
    """Several workers."""
    effort = QUICK_SCALING if asked.quick else replace(ScalingEffort(), rounds=asked.rounds)
    rounds = await ScalingSuite(bench, asked.model, effort, progress).measure()
    return BenchPart(scaling_figures(rounds), rounds)


async def exact_part(bench: Bench, asked: BenchAsked, progress: Progress) -> BenchPart:
    """Whether texts depend on their company."""
    effort = QUICK_EXACT if asked.quick else ExactEffort()
    measured = await ExactSuite(bench, asked.model, effort, progress).measure()
    return BenchPart(exact_figures(measured), measured)


PART_OF: Final[dict[str, Callable[[Bench, BenchAsked, Progress], Awaitable[BenchPart]]]] = {
    "speed": speed_part,
    "prefixes": prefix_part,
    "scaling": scaling_part,
    "exact": exact_part,
}
