"""How good a variant is, as one number: what reports plot, and what is chosen by."""

from collections.abc import Mapping
from typing import Final

from ...models.metrics import GENERATE, TRANSLATE, Evaluation

PERCENT: Final = 100.0
QUALITIES: Final[Mapping[str, str]] = {
    TRANSLATE: "BLEU against the translations of the original",
    GENERATE: "next tokens as the original expects them, %",
}
"""What the number is, by the use of a model; of all others it is the accuracy."""
ACCURACY: Final = "accuracy on unseen rows, %"


def quality_of(evaluation: Evaluation) -> float | None:
    """Of 1, the more the better; None if it was not measured."""
    if evaluation.use == TRANSLATE:
        return None if evaluation.bleu is None else evaluation.bleu / PERCENT
    if evaluation.use == GENERATE:
        return evaluation.top1
    return evaluation.accuracy.value if evaluation.accuracy else None
