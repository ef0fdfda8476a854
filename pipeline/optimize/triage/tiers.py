"""What each tier of a triage model makes of texts."""

from collections.abc import Sequence

import numpy as np

from ...runtime.sessions import Session
from ...tasks.pooling import Tokenizes
from ...tasks.triage.confidence import Floats
from ...tasks.triage.head import ENCODER_TIER, ENSEMBLE, STATIC_TIER, Serve
from ...tasks.triage.loading import TriageModel
from ...tasks.triage.static_tier import StaticTier
from ...tasks.triage.together import ensemble_temperature
from .cascade.cascaded import cascaded
from .cascade.choosing import Texts
from .cascade.ensemble import added
from .report import Progress, Scored, embed_with, scored

TOGETHER = 256
"""Texts between two steps of a progress bar."""


def scores_of(model: TriageModel, tier: Serve, texts: list[str], progress: Progress) -> Scored:
    """The scores of the texts by one tier of the model, or by both as they are served."""
    if tier == STATIC_TIER:
        head, static = model.static()
        logits = static_logits(static, model.tokenizer, texts, progress)
        return Scored(head.labels, logits * np.float32(static.temperature), static.temperature)
    session = Session(model.manifest.graph_path)
    vectors = embed_with(texts, model.tokenizer, session, progress, "reading the tickets")
    if tier == ENCODER_TIER:
        return scored(model.classifier(session), vectors)
    if tier == ENSEMBLE:
        head, static = model.static()
        logits = added(Texts(model.tokenizer.encode(texts), vectors), static, head.classifier())
        return Scored(head.labels, logits, ensemble_temperature(head))
    tiers = model.tiers()
    axis = model.routing(session, tiers.head.classifier()).urgency
    read = Texts(model.tokenizer.encode(texts), vectors)
    return cascaded(read, tiers, axis, model.taxonomy).scored


def static_logits(tier: StaticTier, tokenizer: Tokenizes, texts: Sequence[str], progress: Progress) -> Floats:
    """The logits of the texts, divided by the temperature."""
    made = []
    for start in range(0, len(texts), TOGETHER):
        progress("reading the tickets", start, len(texts))
        made.append(tier.logits(tokenizer.encode(texts[start : start + TOGETHER])))
    progress("reading the tickets", len(texts), len(texts))
    return np.concatenate(made)
