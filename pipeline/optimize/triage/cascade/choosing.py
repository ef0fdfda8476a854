"""Chooses from which confidence on the static tier answers, on tickets that neither tier was fitted on."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np

from ....tasks.triage.answers import DECIMALS
from ....tasks.triage.cascade import Cascade, CascadeMeasured, urgency_digest, whole_confidences
from ....tasks.triage.classifier import Classifier, Linear
from ....tasks.triage.confidence import Floats, softmax
from ....tasks.triage.static_tier import StaticTier, Windows
from ....tasks.triage.taxonomy import Taxonomy
from .risk import Bound, Flags, Scores, sure_from, upper_bound

HUMANS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Confidences below which a human may be needed: for each the static tier gets a threshold, and for the taxonomy's."""

NEVER: Final = 2.0


class Texts(NamedTuple):
    """Texts as both tiers read them."""

    windows: Sequence[Windows]
    vectors: Floats  # of the encoder, of length 1


class Pairs(NamedTuple):
    """The answers of both tiers to some texts, of which neither has seen any. One value for each text."""

    confidence: Floats  # of the static tier
    agreed: Floats  # in its category, as it expects the encoder's confidence
    along: Floats  # how far the text points along the axis of urgency, by the static tier
    same: Flags  # both answer with the same category
    encoder_confidence: Scores  # rounded as in answers
    encoder_along: Floats

    @classmethod
    def of(cls, texts: Texts, tier: StaticTier, classifier: Classifier, axis: Floats) -> Self:
        """``classifier`` is the encoder's; ``axis`` of urgency, zeros if there is none."""
        reading = tier.with_encoder(Linear.of(classifier, axis)).read_texts(texts.windows)
        confidences = softmax(reading.logits)
        labels = confidences.argmax(axis=1)
        scores = classifier.scores(texts.vectors) / np.float32(classifier.temperature)
        of_encoder = softmax(scores)
        return cls(
            confidences.max(axis=1),
            reading.agreed(labels),
            reading.along,
            labels == of_encoder.argmax(axis=1),
            np.asarray(of_encoder.max(axis=1), np.float64).round(DECIMALS),
            texts.vectors @ axis,
        )

    @classmethod
    def none(cls) -> Self:
        """Of no texts."""
        empty = np.empty(0, np.float32)
        return cls(empty, empty, empty, np.empty(0, bool), np.empty(0), empty)

    @classmethod
    def joined(cls, parts: Sequence["Pairs"]) -> Self:
        """All of them."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def scores(self, margin: float, spread: float) -> Scores:
        """The confidence of the static tier in each whole answer."""
        columns = (self.confidence.tolist(), self.agreed.tolist(), self.along.tolist())
        return np.array(whole_confidences(*columns, margin, spread), np.float64)

    def changed(self, human: float, margin: float) -> Flags:
        """Whether the answer of the static tier is another one, where it says neither urgent nor for a human."""
        for_human = self.encoder_confidence < human
        changed: Flags = ~self.same | for_human | (self.encoder_along > margin)
        return changed


def chosen_cascade(
    tickets: Pairs, foreign: Pairs, taxonomy: Taxonomy, limit: float, bound: Bound = "upper"
) -> Cascade:
    """The cascade with the lowest thresholds that keep the limit, on the tickets and on tickets and foreign texts.

    The pairs were made with the axis of urgency of ``taxonomy``.
    """
    margin = taxonomy.urgency.margin if taxonomy.urgency else np.inf
    spread = float(np.std(tickets.along - tickets.encoder_along)) if taxonomy.urgency else 0.0
    both = Pairs.joined([tickets, foreign])
    sure = {
        human: min(
            NEVER,
            max(
                human,
                *(
                    sure_from(pairs.scores(margin, spread), pairs.changed(human, margin), limit, bound)
                    for pairs in (tickets, both)
                ),
            ),
        )
        for human in sorted({taxonomy.threshold, *HUMANS})
    }
    human = taxonomy.threshold
    given = [pairs.scores(margin, spread) >= sure[human] for pairs in (tickets, foreign)]
    changed = [pairs.changed(human, margin) & of for pairs, of in zip((tickets, foreign), given, strict=True)]
    return Cascade(
        limit=limit,
        bound=bound,
        humans=tuple(sure),
        sure=tuple(sure.values()),
        spread=spread,
        urgency=urgency_digest(taxonomy.urgency),
        measured=CascadeMeasured(
            human=human,
            rows=len(given[0]),
            share=_mean(given[0]),
            changed=_mean(changed[0]),
            changed_high=upper_bound(int(changed[0].sum()), len(given[0])),
            foreign_rows=len(given[1]),
            foreign_share=_mean(given[1]),
            foreign_changed=_mean(changed[1]),
        ),
    )


def _mean(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else 0.0
