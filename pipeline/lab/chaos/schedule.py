"""When which fault happens: a pure function of the scenario, the time it has, and a seed."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from .scenario import AREAS, Faults, Scenario

QUIET_END: Final = 0.1
"""The share of the time at the end that has no new faults, so that the last ones take their effect under load."""

LEAST_CALM: Final = 0.2
"""The share of the time that is calm in a short run, at least: what is told of the calm needs some of it."""

SPREAD: Final = 0.5
"""A fault begins somewhere in this share of its slot; the rest keeps it from the next one of its area."""


class Fault(NamedTuple):
    """One fault: begins ``at_s`` after the start. ``pick`` (0 to 1) chooses among what it may befall."""

    at_s: float
    kind: str
    seconds: float
    pick: float


def schedule(scenario: Scenario, seconds: float, seed: int) -> tuple[Fault, ...]:
    """The faults in the order of their times, all behind the calm and before the quiet end."""
    areas: dict[str, list[Faults]] = {}
    for faults in scenario.faults:
        areas.setdefault(AREAS[faults.kind], []).append(faults)
    planned = [
        fault
        for area, kinds in areas.items()
        for fault in _of_area(kinds, scenario, seconds, random.Random(f"{seed}/{scenario.name}/{area}"))
    ]
    return tuple(sorted(planned))


def calm_s(scenario: Scenario, seconds: float) -> float:
    """How long it is calm at first: a short run has less of it."""
    return min(scenario.calm_s, seconds * max(LEAST_CALM, scenario.calm_s / scenario.seconds))


def _of_area(kinds: Sequence[Faults], scenario: Scenario, seconds: float, rng: random.Random) -> list[Fault]:
    """One fault a slot, the kinds in random order; slots are equally long."""
    begin, end = calm_s(scenario, seconds), seconds * (1 - QUIET_END)
    drawn = [faults for faults in kinds for _ in range(_times(faults, scenario, seconds))]
    rng.shuffle(drawn)
    slot_s = (end - begin) / len(drawn)
    return [
        Fault(
            at_s=round(begin + (number + rng.uniform(0, SPREAD)) * slot_s, 3),
            kind=faults.kind,
            seconds=round(rng.uniform(*faults.seconds), 3),
            pick=rng.random(),
        )
        for number, faults in enumerate(drawn)
    ]


def _times(faults: Faults, scenario: Scenario, seconds: float) -> int:
    """As often in a second as in the scenario's own time."""
    return max(1, round(faults.times * seconds / scenario.seconds))
