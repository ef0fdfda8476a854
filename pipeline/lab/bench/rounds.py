"""Rounds that alternate: what is compared has its turns close together, and in another order in each round."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

MIN_ROUNDS: Final = 6
"""Fewer rounds give no 95 % interval of a median, so this many are run beyond the time limit too."""


async def run_rounds(
    one_round: Callable[[int], Awaitable[T]],
    *,
    rounds: int,
    end: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[T]:
    """Run ``rounds`` rounds, fewer if the next one would probably last beyond ``end``."""
    found: list[T] = []
    longest_s = 0.0
    while len(found) < rounds:
        began = clock()
        if len(found) >= MIN_ROUNDS and began + longest_s > end:
            break
        found.append(await one_round(len(found)))
        longest_s = max(longest_s, clock() - began)
    return found


def rotated(names: Sequence[str], number: int) -> Sequence[str]:
    """``names`` from another beginning in each round, so that none is always first."""
    first = number % len(names)
    return [*names[first:], *names[:first]]
