"""How fast models answer, in turns that alternate, so that what disturbs the machine disturbs all of them alike."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ....graphs.devices import CPU
from ....models.metrics import Estimate, MachineSpeed, ShapeLatency
from ...machine.devices import served_by
from ...triage.report import Progress
from ..served_model import ServedModel

TURNS = 7
"""Behind one that warms up. The range of 6 or more ratios is a 95 % interval of their median (sign test)."""

SINGLE_TEXTS = 40
BATCHED_TEXTS = 200
SHAPES = (0.1, 0.5, 0.9, 1.0)  # of the lengths: what is told singly
NEIGHBORS = 5  # texts of about the length of a shape

Counts = NDArray[np.int64]
Times = NDArray[np.float64]


def measured_speeds(
    original: ServedModel, variants: Sequence[ServedModel], texts: Sequence[str], progress: Progress
) -> dict[str, MachineSpeed]:
    """The speed of each model by its name, on texts of the lengths of ``texts``."""
    models = [original, *(one for one in variants if one.name != original.name)]
    lengths = tokens_of(original, texts)
    single = _spread(lengths, SINGLE_TEXTS)
    batched = [texts[i] for i in _spread(lengths, BATCHED_TEXTS)]
    alone = {one.name: np.zeros((TURNS, len(single))) for one in models}
    together = {one.name: np.zeros(TURNS) for one in models}
    for turn in range(-1, TURNS):
        progress("measuring the speed", turn + 1, TURNS + 1)
        for one in models if turn % 2 else reversed(models):
            times = [_seconds(time.perf_counter, one.answer, texts[i]) for i in single]
            clock = time.process_time if one.provider == CPU else time.perf_counter
            whole = _seconds(clock, _answer_all, one, batched)
            if turn >= 0:
                alone[one.name][turn] = times
                together[one.name][turn] = whole / len(batched)
    progress("measuring the speed", TURNS + 1, TURNS + 1)
    tokens = np.array([lengths[i] for i in single])
    return {
        one.name: _speed(one, tokens, alone[one.name] * 1e3, together[one.name], together[original.name])
        for one in models
    }


def tokens_of(original: ServedModel, texts: Sequence[str]) -> list[int]:
    """The tokens of each text, as the original counts them; 0 where it reads none."""
    return [sum(row.length for row in original.rows_of(text)) for text in texts]


def _spread(lengths: Sequence[int], count: int) -> list[int]:
    """Indices of texts whose lengths are distributed as all are, the shortest and the longest among them."""
    order = np.argsort(lengths, kind="stable")
    chosen = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(i) for i in order[chosen]]


def _speed(
    one: ServedModel, tokens: Counts, alone_ms: Times, batched_s: Times, original_s: Times
) -> MachineSpeed:
    """Of the times of each turn (turns, texts) and of the texts of a turn in batches (turns)."""
    of_texts = np.median(alone_ms, axis=0)
    ratios = original_s / batched_s
    return MachineSpeed(
        served_by=served_by(one.provider),
        tokens=tuple(tokens.tolist()),
        latencies=tuple(_at(tokens, alone_ms, share) for share in SHAPES),
        p50_ms=float(np.percentile(of_texts, 50)),
        p99_ms=float(np.percentile(of_texts, 99)),
        rows_per_s=1 / median(batched_s.tolist()),
        times_original=Estimate(median(ratios.tolist()), float(ratios.min()), float(ratios.max())),
    )


def _at(tokens: Counts, alone_ms: Times, share: float) -> ShapeLatency:
    """Of the texts that are about as long as this share of all is at most; ``tokens`` are in rising order."""
    middle = round(share * (len(tokens) - 1))
    first = max(0, min(middle - NEIGHBORS // 2, len(tokens) - NEIGHBORS))
    times = alone_ms[:, first : first + NEIGHBORS]
    return ShapeLatency(int(tokens[middle]), float(np.percentile(times, 50)), float(np.percentile(times, 99)))


def _answer_all(model: ServedModel, texts: Sequence[str]) -> None:
    model.answers(model.ended(texts))


def _seconds(clock: Callable[[], float], call: Callable[..., object], *arguments: object) -> float:
    began = clock()
    call(*arguments)
    return clock() - began
