"""Evidence on a mean that may be looked at again and again: bets, and the bounds that follow from them.

Bets on each value, at odds that are fair or worse if "the mean is at most m" is true, multiply the stake by ``1/alpha``
at any time with a probability of at most ``alpha`` (Ville 1939). So that may be rejected whenever the wealth is that
high, however often it is looked at, and nothing need be known of the values but their range: Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 86 (2024). The stake is divided among bets of several
sizes, so the wealth depends on how often each value came and not on the order: counts of several workers may be added.
"""

import math
from collections.abc import Mapping
from typing import Final

BETS: Final = tuple(0.99 * 1.5**-step for step in range(20))
"""Shares of the wealth that are bet, from nearly all to 0.0004: the nearer the mean to m, the smaller is the best."""

STEPS: Final = 40
"""Of a bisection: the width of the range / 2^40."""

Counts = Mapping[float, int]
"""How often each value came."""


def log_wealth(counts: Counts, bound: float, lowest: float = 0.0) -> float:
    """The logarithm of the wealth won against "the mean is at most ``bound``"; no value is below ``lowest``."""
    room = bound - lowest
    if room <= 0:
        return math.inf if any(count and value > bound for value, count in counts.items()) else 0.0
    odds = [((value - lowest) / room - 1, count) for value, count in counts.items() if count]
    logs = [sum(count * math.log1p(bet * gain) for gain, count in odds) for bet in BETS]
    highest = max(logs)
    return highest + math.log(sum(math.exp(log - highest) for log in logs) / len(logs))


def exceeds(counts: Counts, bound: float, alpha: float, lowest: float = 0.0) -> bool:
    """Whether the mean exceeds ``bound``. For a mean that does not, ever true with probability ``alpha`` at most."""
    return log_wealth(counts, bound, lowest) >= -math.log(alpha)


def lower_bound(counts: Counts, alpha: float, lowest: float = 0.0, highest: float = 1.0) -> float:
    """What the mean exceeds, at all times at once with probability 1 - ``alpha``."""
    low, high = lowest, highest
    for _ in range(STEPS):
        middle = (low + high) / 2
        if exceeds(counts, middle, alpha, lowest):
            low = middle
        else:
            high = middle
    return low


def upper_bound(counts: Counts, alpha: float, lowest: float = 0.0, highest: float = 1.0) -> float:
    """What the mean stays below, at all times at once with probability 1 - ``alpha``."""
    mirrored = {-value: count for value, count in counts.items()}
    return -lower_bound(mirrored, alpha, -highest, -lowest)
