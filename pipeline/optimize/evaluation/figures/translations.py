"""Measures translators beside their original: how near the translations are, by BLEU and chrF."""

import hashlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import msgspec
import numpy as np

from .....schemas.translation import TranslateOutput
from ....errors import UsageError
from ....models.metrics import Evaluation
from ...machine.devices import served_by
from ...triage.report import Progress
from ..served_model import ServedModel
from .bootstrap import agreeing
from .speed import measured_speeds


class TranslatedTexts(NamedTuple):
    """Texts, and perhaps how people translated them, line by line."""

    texts: list[str]
    references: list[str] | None = None


def bleu_metrics() -> Any:
    """The module of sacrebleu. Raises UsageError where it is not installed."""
    try:
        return import_module("sacrebleu.metrics")
    except ImportError as error:
        raise UsageError("BLEU needs the package sacrebleu: pip install sacrebleu.") from error


def evaluate_translators(
    original: ServedModel,
    variants: Sequence[ServedModel],
    source: TranslatedTexts,
    progress: Progress,
    *,
    speeds: bool = True,
) -> dict[str, Evaluation]:
    """What is measured of each variant, and of the original beside itself, by their names. Raises UsageError."""
    metrics = bleu_metrics()
    texts, references = source
    if references is not None and len(references) != len(texts):
        raise UsageError(f"There are {len(texts)} texts and {len(references)} references: give one for each.")
    models = [original, *(one for one in variants if one.name != original.name)]
    translated = {}
    for one in models:
        progress(f"{one.name} translates {len(texts)} texts", 0, len(texts))
        translated[one.name] = _translations(one, texts)
        progress(f"{one.name} translates {len(texts)} texts", len(texts), len(texts))
    measured = measured_speeds(original, models, texts, progress) if speeds else {}
    before = translated[original.name]

    def score(metric: Any, lines: list[str], against: list[str] | None) -> float | None:
        return None if against is None else float(metric.corpus_score(lines, [against]).score)

    bleu, chrf = metrics.BLEU(), metrics.CHRF()
    return {
        one.name: Evaluation(
            use=one.use,
            version=one.version,
            original=original.name,
            original_version=original.version,
            served_by=served_by(one.provider),
            rows=len(texts),
            rows_sha256=hashlib.sha256(msgspec.json.encode([texts, references])).hexdigest(),
            agreement=agreeing(np.array(translated[one.name]) == np.array(before)),
            bleu=score(bleu, translated[one.name], before),
            chrf=score(chrf, translated[one.name], before),
            reference_bleu=score(bleu, translated[one.name], references),
            original_reference_bleu=score(bleu, before, references),
            size_bytes=one.size_bytes,
            speeds=(measured[one.name],) if one.name in measured else (),
        )
        for one in models
    }


def _translations(model: ServedModel, texts: Sequence[str]) -> list[str]:
    """A text that the task refuses has an empty translation."""
    return [
        msgspec.json.decode(answer, type=TranslateOutput).text if answer else ""
        for answer in model.answers(model.ended(texts))
    ]
