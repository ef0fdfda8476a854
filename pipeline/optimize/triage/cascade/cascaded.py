"""What a cascade makes of texts."""

from typing import NamedTuple

import numpy as np

from ....tasks.triage.cascade_task import Tiers
from ....tasks.triage.confidence import Floats
from ....tasks.triage.taxonomy import Taxonomy
from ..report import Scored
from .choosing import Pairs, Texts
from .risk import Flags


class Cascaded(NamedTuple):
    """Of some texts: the scores by the tier that answers, which ones the static tier answers, and which of its answers
    are other than the encoder's.
    """

    scored: Scored
    by_static: Flags
    changed: Flags


def cascaded(texts: Texts, tiers: Tiers, axis: Floats, taxonomy: Taxonomy) -> Cascaded:
    """As it is served with the taxonomy, without a sample. ``axis`` of urgency of the taxonomy."""
    head, static, cascade = tiers
    classifier = head.classifier()
    pairs = Pairs.of(texts, static, classifier, axis)
    margin = taxonomy.urgency.margin if taxonomy.urgency else np.inf
    by_static = pairs.scores(margin, cascade.spread) >= cascade.steps(taxonomy.threshold)[0]
    scores = classifier.scores(texts.vectors) / np.float32(classifier.temperature)
    scores[by_static] = static.logits([texts.windows[row] for row in np.flatnonzero(by_static).tolist()])
    changed = by_static & pairs.changed(taxonomy.threshold, margin)
    return Cascaded(Scored(head.labels, scores, 1.0), by_static, changed)
