"""The answers of the task `classify`."""

from typing import Annotated

from msgspec import Meta, Struct

MAX_TOP_K = 10_000


class ClassifyOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a classify request.

    Attributes:
        threshold: only labels with this score (0 to 1) or a higher one are in `labels`. Without it: the setting of the
            worker, else 0.5 for a model that may give several labels, and 0 for one that gives one.
        top_k: how many labels `scores` has, the best ones.
    """

    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1, le=MAX_TOP_K)] = 5


class LabelScore(Struct, frozen=True):
    """A label of the model and its score, from 0 to 1."""

    label: str
    score: float


class ClassifyOutput(Struct, frozen=True):
    """The labels of a text.

    Attributes:
        label: the one with the highest score.
        score: its score. The scores of all labels add up to 1, unless the model may give several labels.
        labels: those that reach the threshold, the best first: at most one, unless the model may give several.
        scores: the best labels with their scores, the best first.
        multi_label: whether the model may give several labels; then each score is a probability of its own.
        windows: the number of overlapping pieces that a long text was cut into; the scores are those of their mean.
    """

    label: str
    score: float
    labels: list[str]
    scores: list[LabelScore]
    multi_label: bool = False
    windows: int = 1
