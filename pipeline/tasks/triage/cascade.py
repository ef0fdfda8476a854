"""The cascade of a fitted model: from which confidence on its static tier answers, and the encoder does not."""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from .answers import DECIMALS
from .promise import LEVELS
from .taxonomy import Urgency


class CascadeMeasured(Struct, frozen=True):
    """What was found on rows that neither tier was fitted on, if a confidence below ``human`` needs a human.

    ``share`` of them is answered by the static tier; ``changed`` of all answers differ from the encoder's;
    ``changed_high`` is the upper 95 % bound of that.
    """

    human: float
    rows: int  # as the tickets of the fit
    foreign_rows: int  # of other subjects, or mangled
    share: float
    changed: float
    changed_high: float
    foreign_share: float
    foreign_changed: float  # of the answers to foreign rows


class Cascade(Struct, frozen=True):
    """When the static tier answers: if its confidence in the whole answer is at least ``sure``, and no human is needed.

    ``sure`` depends on the confidence below which a human is needed: there is one for each of ``humans``, which
    rise. Of a lower threshold that lies between two of them, the next higher one counts, since fewer answers change
    then. ``urgency``: the digest of the urgent phrases for which it was chosen.
    """

    limit: float  # of the share of changed answers
    bound: str  # what is within the limit: "upper" or "expected"
    humans: tuple[float, ...]
    sure: tuple[float, ...]  # above 1 if too few rows were there to say
    spread: float  # standard deviation of the urgency by the static tier around that by the encoder
    urgency: bytes
    measured: CascadeMeasured

    def steps(self, human: float) -> list[float]:
        """The confidence that the static tier needs at each level, see `promise`, if a lower one than ``human`` needs a
        human. Infinite where it answers nothing.
        """
        place = bisect_left(self.humans, human)
        sure = max(human, self.sure[place]) if place < len(self.humans) else math.inf
        if sure > 1:
            return [math.inf] * (LEVELS + 1)
        return [sure, *(1 - (1 - sure) / 2.0**level for level in range(1, LEVELS)), math.inf]


def whole_confidences(
    confidences: Sequence[float],
    agreed: Sequence[float],
    along: Sequence[float],
    margin: float,
    spread: float,
) -> list[float]:
    """The confidence in each whole answer: in its category, times the confidence in it that is expected of the encoder,
    times the chance that the encoder finds it not urgent.

    ``confidences``: of the categories, by the static tier. ``agreed``: in the same, as it expects the encoder's.
    ``along``: how far each text points along the axis of urgency, by the static tier; the encoder is expected to differ
    from it by a normal ``spread``. An urgent text is one above ``margin``.
    """
    return [
        round(confidence * same * _chance_below(margin - own, spread), DECIMALS)
        for confidence, same, own in zip(confidences, agreed, along, strict=True)
    ]


def _chance_below(distance: float, spread: float) -> float:
    """0 where the static tier itself finds the text urgent: what it answers is never urgent."""
    if distance < 0:
        return 0.0
    return 0.5 * math.erfc(-distance / (spread * math.sqrt(2))) if spread and distance < math.inf else 1.0


def urgency_digest(urgency: Urgency | None) -> bytes:
    """Of the phrases and the margin; empty without any."""
    return b"" if urgency is None else hashlib.blake2b(msgspec.json.encode(urgency), digest_size=32).digest()
