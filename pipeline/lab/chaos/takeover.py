"""How long partitions had no replies after a fault."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from .faults import InjectedFault
from .request_log import ObservedEnd

WITHIN_S: Final = 20.0
"""Only this time after a fault counts."""

MAX_GAP_S: Final = 2.0
"""A partition without a reply for longer than this before the fault had no load and is left out."""


def takeovers(seen: Sequence[ObservedEnd], injected: Sequence[InjectedFault], kind: str) -> list[float]:
    """For each fault of that kind, the longest silence of any partition of its worker, in seconds.

    Only the time from the fault to the next fault of any kind counts. If the silence lasts until
    then, its length is not known and the fault is left out. Where topics are made again, it counts
    from the end of the fault: before, there is nothing to take over.
    """
    times: dict[int, list[float]] = {}
    for end in seen:
        times.setdefault(end.partition, []).append(end.at_s)
    begins = sorted(fault.began_s for fault in injected)
    found = []
    for fault in injected:
        if fault.kind == kind and fault.partitions:
            begin_s = fault.ended_s if kind == "remake_topics" else fault.began_s
            end_s = min([begin_s + WITHIN_S, *(at for at in begins if at > fault.began_s)])
            silences = [
                longest_silence(times.get(partition, []), begin_s, end_s, loaded_at=fault.began_s)
                for partition in fault.partitions
            ]
            longest = max((silence for silence in silences if silence), default=None)
            if longest and not (longest.lasts and end_s < begin_s + WITHIN_S):
                found.append(longest.seconds)
    return found


class Silence(NamedTuple):
    """A time without a reply. It ``lasts`` when no reply has ended it."""

    seconds: float
    lasts: bool


def longest_silence(
    times: Sequence[float], begin: float, end: float, *, loaded_at: float | None = None
) -> Silence | None:
    """The longest time without a reply in an interval; None when there was no load before ``loaded_at``.

    Without ``loaded_at``, before the interval.
    """
    loaded_at = begin if loaded_at is None else loaded_at
    before = [at for at in times if at <= loaded_at]
    if not before or loaded_at - before[-1] > MAX_GAP_S:
        return None
    marks = [begin, *(at for at in times if begin < at < end), end]
    return max(Silence(later - earlier, later == end) for earlier, later in pairwise(marks))
