"""The task `triage` for the engine, with a static tier alone: the answers are made while requests are prepared."""

from collections.abc import Sequence
from typing import Final

from ...errors import DeviceError, too_many_tokens
from ..base import Ask, Finished
from ..digests import digest_of
from ..pooling import Tokenizes
from .answers import AnswerWriter, AskedTicket
from .classifier import Routing
from .confidence import softmax
from .head import Head
from .part_memory import held
from .static_tier import StaticTier
from .ticket_task import TicketTask

CODE_VERSION: Final = b"triage static 1"  # must change when this code gives another answer to the same text


class StaticTriage(TicketTask):
    """The task `triage`, see `tasks/base.Task`. It needs no device."""

    def __init__(
        self, model: str, tokenizer: Tokenizes, tier: StaticTier, head: Head, routing: Routing
    ) -> None:
        """Serve ``tier`` of ``head`` under the name ``model``. ``routing`` is that of the head's labels.

        The static tier is the part ``tier``.
        """
        super().__init__(model, tokenizer, head.cleaning)
        self.labels = head.labels
        self.tier = held(tier.along(routing.urgency))
        self._writer = AnswerWriter(head.labels, routing, "static")
        decided_by = (head.digest, routing.digest, str(routing.threshold).encode())
        self.digest = digest_of(CODE_VERSION, *decided_by)
        self.version = self.digest.hex()[:12]

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[bytes]:
        """The JSON of a TriageOutput for each request. Raises BlankText or TooLarge."""
        read = self.read_tickets(asks, max_tokens)
        for ticket in read:
            if max_tokens is not None and sum(map(len, ticket.windows)) > max_tokens:
                raise too_many_tokens(max_tokens)
        found = self.tier().read_texts([ticket.windows for ticket in read])
        tickets = [
            AskedTicket(ask.options, len(ticket.windows), ticket.unreadable)
            for ask, ticket in zip(asks, read, strict=True)
        ]
        return self._writer.answers(softmax(found.logits), found.along, tickets)

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """Nothing, since no request has rows. Raises DeviceError for one that has some."""
        if finished:
            raise DeviceError("The static tier answers without rows.")
        return []
