"""The answers of a classifier to texts, as arrays, and what they are worth."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .....schemas.classification import ClassifyOutput
from .....schemas.messages import TriageOutput
from ....models.metrics import CLASSIFY, LabelMetrics
from ....tasks.base import Finished
from ....tasks.pooling import Floats, pool
from ....tasks.triage.confidence import calibration_gap
from ...triage.report import class_reports
from ..served_model import ServedModel
from .bootstrap import Hits

NO_ANSWER = ""  # of a text that the task refuses; no label is empty


class Answered(NamedTuple):
    """The answers to some texts, in their order."""

    labels: NDArray[np.str_]
    confidences: NDArray[np.float64]
    to_human: Hits
    by_static: Hits  # those of the static tier
    vectors: Floats | None  # of the texts, where every one of them ran through an encoder


class Quality(NamedTuple):
    """How good answers are, by the right labels."""

    hits: Hits
    macro_f1: float
    calibration_error: float
    by_label: dict[str, LabelMetrics]


def answered(model: ServedModel, texts: Sequence[str]) -> Answered:
    """What the model answers, as whole answers of its task."""
    ended = model.ended(texts)
    read = _of_classifier if model.use == CLASSIFY else _of_triage
    answers = [_Read() if answer is None else read(answer) for answer in model.answers(ended)]
    return Answered(
        np.array([one.label for one in answers]),
        np.array([one.confidence for one in answers]),
        np.array([one.to_human for one in answers]),
        np.array([one.by_static for one in answers]),
        _vectors([one for one in ended if isinstance(one, Finished)], len(texts)),
    )


class _Read(NamedTuple):
    """An answer; that of a text that the task refuses."""

    label: str = NO_ANSWER
    confidence: float = 0.0
    to_human: bool = True
    by_static: bool = False


def _of_triage(answer: bytes) -> _Read:
    output = msgspec.json.decode(answer, type=TriageOutput)
    return _Read(output.category, output.confidence, output.needs_human, output.tier == "static")


def _of_classifier(answer: bytes) -> _Read:
    """Where no label reaches the threshold, a human must look."""
    output = msgspec.json.decode(answer, type=ClassifyOutput)
    return _Read(output.label, output.score, not output.labels)


def quality(found: Answered, truth: Sequence[str]) -> Quality:
    """Compare with the labels of the same texts."""
    right = np.array(truth)
    names = np.unique(np.concatenate([right, found.labels]))
    reports = class_reports(names.tolist(), names.searchsorted(found.labels), names.searchsorted(right))
    hits = found.labels == right
    return Quality(
        hits,
        float(np.mean([one.f1 for one in reports if one.rows])),
        calibration_gap(found.confidences, hits),
        {one.label: LabelMetrics(one.rows, one.precision, one.recall) for one in reports if one.rows},
    )


def cosines(original: Answered, variant: Answered) -> NDArray[np.float32] | None:
    """Of the vectors of each text, or of the scores; None if one of the two has none, or they have other dimensions."""
    first, second = original.vectors, variant.vectors
    if first is None or second is None or first.shape != second.shape:
        return None
    found: NDArray[np.float32] = np.einsum("ij,ij->i", first, second)
    return found


def _vectors(ended: Sequence[Finished], texts: int) -> Floats | None:
    if len(ended) < texts or not ended:
        return None
    outputs = [output for one in ended for output in one.outputs]
    lengths = [row.length for one in ended for row in one.rows]
    return pool(outputs, lengths, [len(one.outputs) for one in ended])
