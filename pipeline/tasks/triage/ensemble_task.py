"""The task `triage` for the engine, with two tiers that are always asked: their log-probabilities are added."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from ...runtime.model import Row
from ..base import Ask, Finished, Prepared
from ..digests import digest_of
from ..pooling import Tokenizes
from .classifier import Routing
from .confidence import Floats, softmax
from .head import Head
from .part_memory import held
from .static_tier import StaticTier
from .task import Judged, Triage, rows_of
from .together import ensemble_temperature

ENSEMBLE_VERSION: Final = b"triage ensemble 1"  # must change when this code adds the tiers in another way
LEAST: Final = np.float32(1e-30)


class EnsembleRow(Row):
    """The first row of a text, with the logits of the static tier."""

    __slots__ = ("static",)

    def __init__(self, tokens: Sequence[int], static: Floats) -> None:
        super().__init__(tokens)
        self.static = static


class EnsembleTriage(Triage):
    """The task `triage`, see `tasks/base.Task`. The encoder alone judges how urgent a text is."""

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizes,
        encoder_digest: bytes,
        head: Head,
        tier: StaticTier,
        routing: Routing,
    ) -> None:
        """Serve both tiers of ``head`` under the name ``model``. The static one is the part ``tier``."""
        super().__init__(model, tokenizer, encoder_digest, head.classifier(), routing, head.cleaning)
        self.tier = held(tier)
        self._temperature = np.float32(ensemble_temperature(head))
        self.digest = digest_of(ENSEMBLE_VERSION, self.digest)
        self.version = self.digest.hex()[:12]

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> Sequence[Prepared]:
        """The windows of each text. Raises BlankText or TooLarge."""
        tickets = self.read_tickets(asks, max_tokens)
        logits = self.tier().logits([ticket.windows for ticket in tickets])
        prepared = []
        for ticket, of_static in zip(tickets, logits, strict=True):
            rows = rows_of(ticket)
            if not ticket.unreadable:
                rows[0] = EnsembleRow(rows[0].tokens, of_static)
            prepared.append(rows)
        return prepared

    def judged(self, finished: Sequence[Finished]) -> Judged:
        """What both tiers together make of each request."""
        found = super().judged(finished)
        together: Floats = np.log(np.maximum(found.confidences, LEAST))
        for number, one in enumerate(finished):
            first = one.rows[0]
            if isinstance(first, EnsembleRow):
                together[number] += (
                    first.static
                )  # its logits: what they lack to log-probabilities is constant
        together /= self._temperature
        return found._replace(confidences=softmax(together))
