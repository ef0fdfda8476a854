"""The task `classify` for the engine: options, and labels as answers."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ....schemas.classification import ClassifyOptions, ClassifyOutput, LabelScore
from ...errors import WrongType
from ..digests import digest_of
from ..pooling import Floats
from ..vectors import TextEncoder, VectorTask
from .scores import DEFAULT_THRESHOLD, scores_of

ALIKE: Final = 0.1
"""The difference of two scores that agree. One head on the vectors of minilm in int8 and in float32 gives scores that
differ by 0.06 at most (500 texts of Banking77, 77 labels); a label that changes there is another answer anyway."""

DECIMALS: Final = 4  # of a score; further digits depend on the other rows of the batch


class Classify(VectorTask):
    """The task `classify`, see `tasks/base.Task`. The vector of a text is what its model computes for each label."""

    name = "classify"
    option_type = ClassifyOptions

    def __init__(self, model: str, encoder: TextEncoder, threshold: float | None = None) -> None:
        """Serve a classifier under the name ``model``; ``threshold`` is for requests that say none."""
        manifest = encoder.manifest
        self.labels = manifest.labels
        self._multi_label = manifest.multi_label
        own = DEFAULT_THRESHOLD if manifest.multi_label else 0.0
        self._threshold = own if threshold is None else threshold
        decided_by = digest_of(
            *(label.encode() for label in manifest.labels),
            str(manifest.multi_label).encode(),
            str(self._threshold).encode(),
        )
        super().__init__(model, encoder, decided_by)

    def options(self, given: Mapping[str, Any]) -> ClassifyOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        options: ClassifyOptions = super().options(given)
        if options.threshold is not None and not 0 <= options.threshold <= 1:  # NaN passes the type
            raise WrongType(f"The option 'threshold' must lie between 0 and 1, not {options.threshold}.")
        return options

    def agrees(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether both give the same labels with about the same scores, see `tasks/base.agree`.

        Of several labels, which one is the best may differ: their scores are compared.
        """
        first, second = (_scores(answer) for answer in (one, other))
        same_best = self._multi_label or one["label"] == other["label"]
        return (
            same_best
            and set(one["labels"]) == set(other["labels"])
            and _alike(first, second)
            and _alike(second, first)
        )

    def answer(self, vector: Floats, options: ClassifyOptions, windows: int) -> ClassifyOutput:
        """The labels by their scores; ``vector`` is the mean of what was computed for the pieces of the text."""
        scores = scores_of(vector[None], multi_label=self._multi_label)[0]
        order = np.argsort(-scores, kind="stable").tolist()
        rounded = [round(score, DECIMALS) for score in scores.tolist()]
        threshold = self._threshold if options.threshold is None else options.threshold
        given = order if self._multi_label else order[:1]
        best = order[0]
        return ClassifyOutput(
            label=self.labels[best],
            score=rounded[best],
            labels=[self.labels[i] for i in given if rounded[i] >= threshold],
            scores=[LabelScore(self.labels[i], rounded[i]) for i in order[: options.top_k]],
            multi_label=self._multi_label,
            windows=windows,
        )


def _scores(answer: Mapping[str, Any]) -> dict[str, float]:
    """By label, of those that the answer tells."""
    return {one["label"]: one["score"] for one in answer["scores"]}


def _alike(scores: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """A label that the others do not tell has at most the lowest of their scores."""
    lowest = min(others.values())
    return all(
        abs(score - others[label]) <= ALIKE if label in others else score <= lowest + ALIKE
        for label, score in scores.items()
    )
