"""The figures of a run: medians over the rounds of ratios within a round, with intervals, beside their goals."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...optimize.evaluation.figures.translations import bleu_metrics
from ..bench.figures import BenchFigure, Speed, at_least, at_most, speed
from ..bench.runs import Run
from ..statistics import median
from .suite import LEARNED, Translated, TranslationMeasurements, TranslationRound

MAX_MB: Final = 350
FLAT: Final = 1.05
SAME_BLEU: Final = 0.1

SYSTEMS: Final[dict[str, Callable[[TranslationRound], Run]]] = {
    "raw loop over all texts, ideal batches: the limit": lambda r: r.full["raw"],
    "inferstream": lambda r: r.full[LEARNED],
    "native engine, a caller for each core": lambda r: r.full["native"],
    "our graph, one after the other, one core": lambda r: r.alone["alone"],
    "native engine, one caller": lambda r: r.alone["native alone"],
}


def translation_speeds(rounds: Sequence[TranslationRound]) -> list[Speed]:
    """The sentences/s of each system, and the CPU time of the broker and the load generator beside its own."""
    return [speed(name, [run(round_) for round_ in rounds]) for name, run in SYSTEMS.items()]


def translation_figures(
    measured: TranslationMeasurements, references: Sequence[str] | None = None
) -> list[BenchFigure]:
    """The figures of benchmarks/README.md, in its order. ``references``: a translation of each line, for BLEU."""
    rounds = measured.rounds

    def ratio(what: str, of: Callable[[TranslationRound], float], goal: float) -> BenchFigure:
        return at_least("speed", what, [of(round_) for round_ in rounds], goal)

    found = [
        ratio(
            "over Kafka, all cores ÷ native, a caller for each",
            lambda r: r.full[LEARNED].per_s / r.full["native"].per_s,
            2.8,
        ),
        *quality(measured.translated, references),
        ratio(
            "one core, one at a time ÷ native, one caller",
            lambda r: r.alone["alone"].per_s / r.alone["native alone"].per_s,
            2.5,
        ),
        ratio(
            "over Kafka ÷ raw loop, by CPU time",
            lambda r: r.full["raw"].cpu_ms / r.full[LEARNED].cpu_ms,
            0.95,
        ),
        ratio(
            "over Kafka ÷ raw loop, by wall time", lambda r: r.full[LEARNED].per_s / r.full["raw"].per_s, 0.9
        ),
        _scaling(rounds, "2-workers", 2, 0.98),
        _scaling(rounds, "4-workers", 4, 0.95),
    ]
    if measured.memory_mb:
        found.append(_memory(measured.memory_mb))
    found.append(at_most("ready", "from start to ready graph, s", measured.ready_s, 5.0))
    return found


def quality(translated: Translated, references: Sequence[str] | None) -> list[BenchFigure]:
    """How far the translations over Kafka are those of the native engine, and the BLEU of both."""
    pairs = list(zip(translated.native, translated.ours, strict=True))
    equal = sum(native == ours for native, ours in pairs) / len(pairs)
    shown = BenchFigure("BLEU", "share of equal lines", equal, None, None, "", True, [equal])
    if references is None:
        return [shown]
    native, signature = _bleu(translated.native, references)
    ours, _ = _bleu(translated.ours, references)
    lost = native - ours
    detail = f"{ours:.2f} - {native:.2f}; {signature}"
    lines = BenchFigure(
        "BLEU", "lost against native", lost, None, None, f"≤ {SAME_BLEU}", lost <= SAME_BLEU, [lost], detail
    )
    return [lines, shown]


def bleu_metric() -> Any:
    """sacrebleu's. Raises UsageError where it is not installed."""
    return bleu_metrics().BLEU()


def _bleu(lines: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    metric = bleu_metric()
    return float(metric.corpus_score(list(lines), [list(references)]).score), str(metric.get_signature())


def _scaling(rounds: Sequence[TranslationRound], name: str, workers: int, goal: float) -> BenchFigure:
    values = [
        round_.fleets[name].steady_per_s / workers / round_.fleets["1-worker"].steady_per_s
        for round_ in rounds
    ]
    one, all_of = (
        median([round_.fleets[fleet].steady_per_s for round_ in rounds]) for fleet in ("1-worker", name)
    )
    detail = f"{all_of:.0f}/s against {one:.0f}/s, on a device that sleeps"
    return at_least("scaling", f"{workers} workers ÷ {workers} times one", values, goal, detail)


def _memory(resident_mb: Sequence[float]) -> BenchFigure:
    """The peak; flat: the median of the last quarter of the samples against the second's."""
    count = len(resident_mb)
    early = median(resident_mb[count // 4 : count // 2 or 1])
    late = median(resident_mb[-(count // 4 or 1) :])
    peak = max(resident_mb)
    met = peak <= MAX_MB and late <= early * FLAT
    detail = f"{early:.0f} MB in the second quarter, {late:.0f} MB in the last"
    return BenchFigure(
        "memory", "resident, MB, peak", peak, None, None, f"≤ {MAX_MB}, flat", met, [peak], detail
    )
