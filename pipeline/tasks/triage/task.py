"""The task `triage` for the engine, with an encoder: rows, and answers from vectors."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ...runtime.model import Row
from ..base import Ask, Finished, Prepared
from ..digests import digest_of
from ..pooling import Tokenizes, pool
from .answers import AnswerWriter, AskedTicket
from .classifier import Classifier, Linear, Routing
from .confidence import Floats, softmax
from .part_memory import held
from .ticket_task import NONE, ReadTicket, TicketTask

CODE_VERSION: Final = b"triage 2"  # must change when this code gives another answer to the same vectors


class UnreadableRow(Row):
    """A row of a text that the model cannot read for the most part; `Triage.finish` says so in the answer."""


class Judged(NamedTuple):
    """Of some texts."""

    confidences: Floats  # (texts, labels)
    along: Floats  # (texts,): how far each points along the axis of urgency


class Triage(TicketTask):
    """The task `triage`, see `tasks/base.Task`."""

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizes,
        encoder_digest: bytes,
        classifier: Classifier,
        routing: Routing,
        clean: str = NONE,
    ) -> None:
        """Serve ``classifier`` under the name ``model``; ``clean`` is for requests that do not say it.

        Its weights are the part ``linear``.
        """
        super().__init__(model, tokenizer, clean)
        self.labels = classifier.labels
        self._writer = AnswerWriter(classifier.labels, routing)
        self.linear = held(Linear.of(classifier, routing.urgency))
        decided_by = (classifier.digest, routing.digest, str(routing.threshold).encode(), clean.encode())
        self.digest = digest_of(CODE_VERSION, encoder_digest, *decided_by)
        self.version = self.digest.hex()[:12]

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> Sequence[Prepared]:
        """The windows of each text. Raises BlankText or TooLarge."""
        return [rows_of(ticket) for ticket in self.read_tickets(asks, max_tokens)]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a TriageOutput for each request."""
        return self.answers(finished, self.judged(finished))

    def judged(self, finished: Sequence[Finished]) -> Judged:
        """What the classifier makes of the vectors of each request."""
        windows = [len(one.outputs) for one in finished]
        vectors = [vector for one in finished for vector in one.outputs]
        lengths = [row.length for one in finished for row in one.rows]
        linear = self.linear()
        scores = pool(vectors, lengths, windows) @ linear.weights + linear.bias
        return Judged(softmax(scores[:, :-1]), scores[:, -1])

    def answers(self, finished: Sequence[Finished], judged: Judged) -> list[bytes]:
        """The JSON of a TriageOutput for each request."""
        tickets = [AskedTicket(one.options, len(one.outputs), is_unreadable(one)) for one in finished]
        return self._writer.answers(judged.confidences, judged.along, tickets)


def rows_of(ticket: ReadTicket) -> list[Row]:
    """A row for each window of a ticket."""
    kind = UnreadableRow if ticket.unreadable else Row
    return [kind(window) for window in ticket.windows]


def is_unreadable(finished: Finished) -> bool:
    """Whether the rows are those of a text that the model cannot read."""
    return any(isinstance(row, UnreadableRow) for row in finished.rows[:1])
