"""The figures of a run, beside the goals of its scenario."""

import math
import signal
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from ..load.requests import Mix
from .ledger import Seen
from .report import TURN_S, WARM_SHARE, Report
from .takeover import takeovers

MEANINGS: Final = {
    "requests": "requests sent, by distinct id",
    "lost": "requests without a terminal event",
    "out_of_order": "replies out of the order of their key",
    "duplicated": "terminal events beyond one a request",
    "duplicated_per_kill": "the same for each kill of a worker",
    "customer_answers": "answers through our own client",
    "customer_repeated": "second replies to its requests on the topic",
    "customer_doubled": "answers that our client gave twice",
    "customer_unanswered": "requests that our client could not get answered in a minute",
    "results": "ended with a result",
    "failures": "ended with a failure reply",
    "harmed": "good requests that ended otherwise than with a result",
    "expired": "ended because their deadline had passed",
    "dead_letters": "ended as a dead letter alone",
    "faults": "faults that happened",
    "faults_skipped": "faults that did not happen: too late, or nothing there to befall",
    "rebalances": "times that the worker that saw most rebalances was given partitions",
    "crashes": "worker processes that a text ended",
    "unwanted_exits": "worker processes that ended otherwise by themselves",
    "takeover_kill_p95_s": "kill -9 of a worker until its partitions answer, p95, s",
    "takeover_stop_p95_s": "SIGTERM of a worker until its partitions answer, p95, s",
    "ready_p95_s": "start of a worker, after SIGTERM of the last, until it reads, p95, s",
    "calm_per_s": "answers in time a second, calm",
    "storm_per_s": "answers in time a second, under faults",
    "throughput_share": "the second ÷ the first",
    "calm_p99_ms": "latency of good requests, calm, p99, ms",
    "storm_p99_ms": "latency of good requests, under faults, p99, ms",
    "latency_share": "the second ÷ the first",
    "worst_s": "longest latency of a good request, s",
    "late_rows": "rows that reached the device after their deadline",
    "latest_ms": "the latest of them was late by, ms",
    "device_rows": "rows that reached the device",
    "memory_mb": "resident memory of a worker, most, MB",
    "memory_growth": "growth of a worker's memory, last third ÷ middle third - 1",
    "settled_after_s": "last end of a request after the load, s",
}
"""What each figure says, in the order in which they are told."""

AT_LEAST: Final = ("throughput_share", "rebalances")
"""Goals that are to be reached; all others are not to be passed."""

GOOD: Final = ("good", "again")
"""Kinds of requests that deserve a result."""

WAY_BACK_S: Final = 0.25
"""From the worker, which keeps to the deadline, to where the run sees the reply."""

LIVED_S: Final = 60.0
"""A shorter life of a process says nothing about its memory."""


class Figure(Struct, frozen=True):
    """One line of the result; without a value there was nothing to measure."""

    scenario: str
    name: str
    figure: str
    value: float | None
    goal: str
    met: bool | None


def figures(report: Report) -> list[Figure]:
    """All figures of the run, those without a value and without a goal left out."""
    values = {**_audited(report), **_takeovers(report), **_paces(report), **_machines(report)}
    goals = report.scenario.goals
    return [
        _figure(report.scenario.name, name, values.get(name), goals.get(name))
        for name in MEANINGS
        if name in goals or values.get(name) is not None
    ]


def _figure(scenario: str, name: str, value: float | None, goal: float | None) -> Figure:
    rounded = None if value is None else round(value, 4)
    if goal is None:
        return Figure(scenario, name, MEANINGS[name], rounded, "", None)
    at_least = name in AT_LEAST
    met = value is not None and (value >= goal if at_least else value <= goal)
    return Figure(scenario, name, MEANINGS[name], rounded, f"{'≥' if at_least else '≤'} {goal:g}", met)


def _audited(report: Report) -> dict[str, float | None]:
    judgment, asks = report.judgment, report.scenario.customer_per_s > 0
    kills = sum(fault.kind == "kill_worker" and bool(fault.partitions) for fault in report.happened)
    return {
        "requests": judgment.requests,
        "lost": judgment.lost,
        "out_of_order": judgment.out_of_order,
        "duplicated": judgment.duplicated,
        "duplicated_per_kill": judgment.duplicated / kills if kills else None,
        "customer_answers": report.customer_answers if asks else None,
        "customer_repeated": report.customer_repeated if asks else None,
        "customer_doubled": report.customer_doubled if asks else None,
        "customer_unanswered": report.customer_unanswered if asks else None,
        **judgment.ends,
        "harmed": sum(one.kind in GOOD and one.code != "result" for one in report.seen),
    }


def _takeovers(report: Report) -> dict[str, float | None]:
    return {
        "takeover_kill_p95_s": percentile(takeovers(report.seen, report.happened, "kill_worker"), 0.95),
        "takeover_stop_p95_s": percentile(takeovers(report.seen, report.happened, "stop_worker"), 0.95),
        "ready_p95_s": percentile(report.ready_s, 0.95),
    }


def _paces(report: Report) -> dict[str, float | None]:
    calm, storm = (report.calm_s * WARM_SHARE, report.calm_s), (report.calm_s + TURN_S, report.seconds)
    calm_per_s = _in_time(report.seen, report.scenario.mix, *calm)
    storm_per_s = _in_time(report.seen, report.scenario.storm_mix, *storm)
    calm_p99, storm_p99 = (percentile(_latencies_s(report.seen, *span), 0.99) for span in (calm, storm))
    return {
        "calm_per_s": calm_per_s,
        "storm_per_s": storm_per_s,
        "throughput_share": storm_per_s / calm_per_s if calm_per_s and _is_full(report) else None,
        "calm_p99_ms": _ms(calm_p99),
        "storm_p99_ms": _ms(storm_p99),
        "latency_share": storm_p99 / calm_p99 if storm_p99 and calm_p99 else None,
        "worst_s": max(_latencies_s(report.seen, 0, math.inf), default=None),
    }


def _is_full(report: Report) -> bool:
    """Whether the load takes what the workers can give: at a steady pace below that, throughput says nothing."""
    return bool(report.scenario.load.open)


def _machines(report: Report) -> dict[str, float | None]:
    settled = report.settled_s
    by_themselves = [one.status for one in report.exits if not one.wanted]
    crashes = by_themselves.count(-signal.SIGABRT) if report.scenario.storm_mix.aborts_share else 0
    return {
        "faults": len(report.happened),
        "faults_skipped": report.skipped if report.planned else None,
        "rebalances": report.rebalances,
        "crashes": crashes or None,
        "unwanted_exits": len(by_themselves) - crashes,
        "late_rows": report.device.late_rows,
        "latest_ms": report.device.latest_s * 1e3 if report.device.late_rows else None,
        "device_rows": report.device.rows,
        "memory_mb": max((mb for *_, mb in report.memory_mb), default=None),
        "memory_growth": memory_growth(report.memory_mb),
        "settled_after_s": None if settled is None else max(0.0, settled - report.seconds),
    }


def _in_time(seen: Sequence[Seen], mix: Mix, begin_s: float, end_s: float) -> float:
    """Results of good requests a second, within the deadline where all have one."""
    limit_s = mix.deadline_s + WAY_BACK_S if mix.deadline_share == 1 else math.inf
    return sum(latency_s <= limit_s for latency_s in _latencies_s(seen, begin_s, end_s)) / (end_s - begin_s)


def _latencies_s(seen: Sequence[Seen], begin_s: float, end_s: float) -> list[float]:
    return [
        one.latency_s
        for one in seen
        if begin_s <= one.at_s < end_s
        and one.code == "result"
        and one.kind in GOOD
        and one.latency_s is not None
    ]


def memory_growth(memory_mb: Sequence[tuple[float, int, int, float]]) -> float | None:
    """The most that any process grew from the middle third of its life to the last; None where none lived long."""
    lives = [
        [(at_s, mb) for at_s, _, _, mb in life]
        for _, life in groupby(sorted(memory_mb, key=lambda one: (one[2], one[0])), lambda one: one[2])
    ]
    grown = []
    for life in lives:
        if life[-1][0] - life[0][0] >= LIVED_S:
            third = len(life) // 3
            middle, last = life[third : 2 * third], life[2 * third :]
            grown.append(
                statistics.median(mb for _, mb in last) / statistics.median(mb for _, mb in middle) - 1
            )
    return max(grown, default=None)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of the values does not exceed; None without any."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def ends_by_code(seen: Sequence[Seen]) -> dict[str, int]:
    """How the requests ended that the run saw, most frequent first."""
    return dict(Counter(one.code for one in seen).most_common())
