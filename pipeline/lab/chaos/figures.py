"""The figures of a run, with the goals of its scenario."""

import math
import signal
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from ..load.requests import Mix
from ..statistics import median, percentile
from .meanings import LOWER_LIMITS, MEANINGS
from .report import TURN_S, WARM_SHARE, ChaosReport
from .request_log import ObservedEnd
from .strangers import IN_TRANSACTION
from .takeover import takeovers

GOOD: Final = ("good", "again")
"""Kinds of requests whose speed counts."""

WAY_BACK_S: Final = 0.25
"""Allowed time from the worker, which applies the deadline, to the run."""

MIN_LIFETIME_S: Final = 60.0
"""Memory growth is computed only for processes that ran this long."""


class ChaosFigure(Struct, frozen=True):
    """A figure with its goal; ``value`` is None when nothing was measured."""

    scenario: str
    name: str
    figure: str
    value: float | None
    goal: str
    met: bool | None


def figures(report: ChaosReport) -> list[ChaosFigure]:
    """All figures that have a value or a goal."""
    values = {
        **_audited(report),
        **_streams(report),
        **_captions(report),
        **_conversations(report),
        **_takeovers(report),
        **_paces(report),
        **_machines(report),
    }
    goals = report.scenario.goals
    return [
        _figure(report.scenario.name, name, values.get(name), goals.get(name))
        for name in MEANINGS
        if name in goals or values.get(name) is not None
    ]


def _figure(scenario: str, name: str, value: float | None, goal: float | None) -> ChaosFigure:
    rounded = None if value is None else round(value, 4)
    if goal is None:
        return ChaosFigure(scenario, name, MEANINGS[name], rounded, "", None)
    at_least = name in LOWER_LIMITS
    met = value is not None and (value >= goal if at_least else value <= goal)
    return ChaosFigure(scenario, name, MEANINGS[name], rounded, f"{'≥' if at_least else '≤'} {goal:g}", met)


def _audited(report: ChaosReport) -> dict[str, float | None]:
    judgment = report.judgment
    with_client = report.scenario.customer_per_s > 0
    kills = sum(
        fault.kind in ("kill_worker", "suspend_worker") and bool(fault.partitions)
        for fault in report.happened
    )
    return {
        "requests": judgment.requests,
        "lost": judgment.lost,
        "out_of_order": judgment.out_of_order,
        "duplicated": judgment.duplicated,
        "duplicated_per_kill": judgment.duplicated / kills if kills else None,
        "aborted_answers": report.aborted_answers if report.scenario.transactions_per_s else None,
        "lag": report.lag,
        "customer_answers": report.customer_answers if with_client else None,
        "customer_repeated": report.customer_repeated if with_client else None,
        "customer_doubled": report.customer_doubled if with_client else None,
        "customer_unanswered": report.customer_unanswered if with_client else None,
        **judgment.ends,
        "harmed": sum(one.kind in (*GOOD, IN_TRANSACTION) and one.code != "result" for one in report.seen),
    }


def _streams(report: ChaosReport) -> dict[str, float | None]:
    if not report.scenario.streams_per_s:
        return {}
    counts, judgment = report.streams, report.judgment
    left = [one for one in counts.left if one.how != "killed"]
    calm_s = [one.ended_after_s for one in left if report.calm_s * WARM_SHARE <= one.at_s < report.calm_s]
    storm_s = [one.ended_after_s for one in left if one.at_s >= report.calm_s]
    killed_s = [one.ended_after_s for one in counts.left if one.how == "killed"]
    return {
        "streams": counts.streams,
        "streams_torn": counts.torn,
        "streams_unanswered": counts.unanswered.total(),
        "streams_wrong": counts.wrong,
        "chunks": judgment.chunks,
        "chunks_torn": judgment.torn,
        "chunks_misplaced": counts.misplaced,
        "left": len(counts.left) + counts.open,
        "left_answered": sum(one.code == "result" for one in counts.left),
        "left_open": counts.open,
        "left_calm_p50_ms": _ms(_percentile(calm_s, 50)),
        "left_storm_p50_ms": _ms(_percentile(storm_s, 50)),
        "left_storm_p95_ms": _ms(_percentile(storm_s, 95)),
        "killed_p50_s": _percentile(killed_s, 50),
        "killed_p95_s": _percentile(killed_s, 95),
        "cancelled": judgment.cancelled,
        "late_cancels": judgment.late_cancels,
    }


def _captions(report: ChaosReport) -> dict[str, float | None]:
    if not report.scenario.captions:
        return {}
    figures = report.captions.figures(report.calm_s * WARM_SHARE, report.calm_s)
    return {**figures, "superseded": report.judgment.superseded, "cancelled": report.judgment.cancelled}


def _conversations(report: ChaosReport) -> dict[str, float | None]:
    if not report.scenario.conversations:
        return {}
    judgment = report.judgment
    return {
        **report.conversations.figures(report.calm_s * WARM_SHARE, report.calm_s),
        "chunks": judgment.chunks,
        "chunks_torn": judgment.torn,
        "chunks_outdated": judgment.outdated_chunks,
        "pieces_repeated": judgment.repeated_pieces,
        "resumed": judgment.resumed,
        "cancelled": judgment.cancelled,
    }


def _takeovers(report: ChaosReport) -> dict[str, float | None]:
    kinds = {
        "kill": "kill_worker",
        "suspend": "suspend_worker",
        "remake": "remake_topics",
        "stop": "stop_worker",
    }
    found = {
        f"takeover_{name}_p95_s": _percentile(takeovers(report.seen, report.happened, kind), 95)
        for name, kind in kinds.items()
    }
    return {**found, "ready_p95_s": _percentile(report.ready_s, 95)}


def _paces(report: ChaosReport) -> dict[str, float | None]:
    calm = (report.calm_s * WARM_SHARE, report.calm_s)
    storm = (report.calm_s + TURN_S, report.seconds)
    calm_per_s = _in_time(report.seen, report.scenario.mix, *calm)
    storm_per_s = _in_time(report.seen, report.scenario.storm_mix, *storm)
    calm_p99 = _percentile(_stored_s(report.seen, *calm), 99)
    storm_p99 = _percentile(_stored_s(report.seen, *storm), 99)
    return {
        "calm_per_s": calm_per_s,
        "storm_per_s": storm_per_s,
        # Below full load, the throughput is that of the load.
        "throughput_share": storm_per_s / calm_per_s if calm_per_s and report.scenario.load.open else None,
        "calm_p99_ms": _ms(calm_p99),
        "storm_p99_ms": _ms(storm_p99),
        "latency_share": storm_p99 / calm_p99 if storm_p99 and calm_p99 else None,
        "run_calm_p99_ms": _ms(_percentile(_latencies_s(report.seen, *calm), 99)),
        "run_storm_p99_ms": _ms(_percentile(_latencies_s(report.seen, *storm), 99)),
        "behind_calm_p99_ms": _ms(_percentile(_behind_s(report.behind, *calm), 99)),
        "behind_storm_p99_ms": _ms(_percentile(_behind_s(report.behind, *storm), 99)),
        "worst_s": max(_latencies_s(report.seen, 0, math.inf), default=None),
    }


def _machines(report: ChaosReport) -> dict[str, float | None]:
    settled = report.settled_s
    unwanted = [one.status for one in report.exits if not one.wanted]
    crashes = unwanted.count(-signal.SIGABRT) if report.scenario.storm_mix.aborts_share else 0
    return {
        "faults": len(report.happened),
        "faults_skipped": report.skipped if report.planned else None,
        "rebalances": report.rebalances,
        "crashes": crashes or None,
        "unwanted_exits": len(unwanted) - crashes,
        "late_rows": report.device.late_rows,
        "latest_ms": report.device.latest_s * 1e3 if report.device.late_rows else None,
        "device_rows": report.device.rows,
        "memory_mb": report.peak_mb or None,
        "memory_growth": memory_growth(report.memory_mb),
        "settled_after_s": None if settled is None else max(0.0, settled - report.seconds),
    }


def _in_time(seen: Sequence[ObservedEnd], mix: Mix, begin_s: float, end_s: float) -> float:
    """Results of good requests per second; when all have a deadline, only those in time."""
    limit_s = mix.deadline_s + WAY_BACK_S if mix.deadline_share == 1 else math.inf
    return sum(latency_s <= limit_s for latency_s in _latencies_s(seen, begin_s, end_s)) / (end_s - begin_s)


def _latencies_s(seen: Sequence[ObservedEnd], begin_s: float, end_s: float) -> list[float]:
    return [one.latency_s for one in _results(seen, begin_s, end_s) if one.latency_s is not None]


def _stored_s(seen: Sequence[ObservedEnd], begin_s: float, end_s: float) -> list[float]:
    return [one.stored_s for one in _results(seen, begin_s, end_s) if one.stored_s is not None]


def _results(seen: Sequence[ObservedEnd], begin_s: float, end_s: float) -> list[ObservedEnd]:
    """The results of good requests between two times."""
    return [one for one in seen if begin_s <= one.at_s < end_s and one.code == "result" and one.kind in GOOD]


def _behind_s(behind: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> list[float]:
    return [late_s for at_s, late_s in behind if begin_s <= at_s < end_s]


def memory_growth(memory_mb: Sequence[tuple[float, int, int, float]]) -> float | None:
    """Largest growth of a process from the middle to the last third of its lifetime, or None."""
    lives = [
        [(at_s, mb) for at_s, _, _, mb in life]
        for _, life in groupby(sorted(memory_mb, key=lambda one: (one[2], one[0])), lambda one: one[2])
    ]
    grown = []
    for life in lives:
        if life[-1][0] - life[0][0] >= MIN_LIFETIME_S:
            third = len(life) // 3
            middle, last = life[third : 2 * third], life[2 * third :]
            grown.append(median([mb for _, mb in last]) / median([mb for _, mb in middle]) - 1)
    return max(grown, default=None)


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return percentile(values, percent) if values else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def ends_by_code(seen: Sequence[ObservedEnd]) -> dict[str, int]:
    """The number of observed ends by code, most frequent first."""
    return dict(Counter(one.code for one in seen).most_common())
