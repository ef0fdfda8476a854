"""How long partitions stood still after a fault, from when their replies were seen."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from .faults import Happened
from .ledger import Seen

WITHIN_S: Final = 20.0
"""A silence that begins later after a fault is not the fault's."""

EVERY_S: Final = 2.0
"""A partition that was silent for longer just before the fault had nothing to do: it tells nothing."""


def takeovers(seen: Sequence[Seen], happened: Sequence[Happened], kind: str) -> list[float]:
    """For each fault of that kind, the longest silence of any partition that the worker had, in seconds.

    The silence counts from the fault on. Another fault of any kind ends the look: where it was silent until then,
    nobody knows how long it would have been, and the fault is left out.
    """
    times: dict[int, list[float]] = {}
    for one in seen:
        times.setdefault(one.partition, []).append(one.at_s)
    begins = sorted(fault.began_s for fault in happened)
    found = []
    for fault in happened:
        if fault.kind == kind and fault.partitions:
            end = min([fault.began_s + WITHIN_S, *(at for at in begins if at > fault.began_s)])
            silences = [
                longest_silence(times.get(partition, []), fault.began_s, end)
                for partition in fault.partitions
            ]
            longest = max((silence for silence in silences if silence), default=None)
            if longest and not (longest.lasts and end < fault.began_s + WITHIN_S):
                found.append(longest.seconds)
    return found


class Silence(NamedTuple):
    """A time without a reply. It ``lasts`` where none came before the look ended."""

    seconds: float
    lasts: bool


def longest_silence(times: Sequence[float], begin: float, end: float) -> Silence | None:
    """The longest time without a reply between ``begin`` and ``end``; None where there was none before either."""
    before = [at for at in times if at <= begin]
    if not before or begin - before[-1] > EVERY_S:
        return None
    marks = [begin, *(at for at in times if begin < at < end), end]
    return max(Silence(later - earlier, later == end) for earlier, later in pairwise(marks))
