"""The task `triage` for the engine, with two tiers: the static tier answers where it is sure, the encoder all else."""

import logging
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from ....schemas.messages import TriageOptions
from ...errors import too_many_tokens
from ...runtime.model import Row
from ...telemetry import TaskFigure
from ..base import Ask, Finished, Prepared
from ..digests import digest_of
from ..pooling import Tokenizes
from .answers import DECIMALS, AnswerWriter, AskedTicket, Tier
from .cascade import Cascade, whole_confidences
from .classifier import Routing
from .confidence import Floats, softmax
from .head import Head
from .part_memory import held
from .promise import Promise, upper_share
from .static_tier import StaticReading, StaticTier
from .task import Triage, rows_of

CASCADE_VERSION: Final = (
    b"triage cascade 2"  # must change when this code chooses another tier for the same text
)
SAMPLING: Final = b"shadow"
MAX_KNOWN: Final = 128
"""Thresholds of requests whose steps are kept."""

MAX_SHOWN: Final = 20
"""Tenants in the metrics: of those above level 0 the ones that were compared last."""

_log = logging.getLogger(__name__)


class Guess(NamedTuple):
    """The category that the static tier would answer with, and at how many levels of a tenant it would be asked.

    What it answers needs no human and is not urgent.
    """

    category: int
    reached: int


class SampledRow(Row):
    """The first row of a text for which the answers of both tiers are compared."""

    __slots__ = ("guess",)

    def __init__(self, tokens: Sequence[int], guess: Guess) -> None:
        super().__init__(tokens)
        self.guess = guess


class Tiers(NamedTuple):
    """What is fitted."""

    head: Head
    static: StaticTier
    cascade: Cascade


class CascadeTriage(Triage):
    """The task `triage`, see `tasks/base.Task`.

    What it remembers of earlier requests can only send more texts to the encoder, see `promise`.
    """

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizes,
        encoder_digest: bytes,
        tiers: Tiers,
        routing: Routing,
        shadow: float,
    ) -> None:
        """Serve ``tiers`` under the name ``model``. ``shadow``: the share of the texts for which both are asked.

        The static tier is the part ``tier``.
        """
        head, tier, cascade = tiers
        super().__init__(model, tokenizer, encoder_digest, head.classifier(), routing, head.cleaning)
        self.labels = labels = head.labels
        self._writer = AnswerWriter(labels, routing, "encoder")
        self._static_writer = AnswerWriter(labels, routing, "static")
        self._margin = routing.margin
        self._threshold = routing.threshold
        self.tier = held(tier.with_encoder(self.linear()))
        self._cascade = cascade
        self._steps = lru_cache(MAX_KNOWN)(cascade.steps)
        self._sampled_below = round(shadow * 2**64)
        self.promise = Promise(cascade.limit, self._warn)
        self._counting = threading.Lock()
        self._answered: dict[Tier, int] = {"static": 0, "encoder": 0}
        self.digest = digest_of(CASCADE_VERSION, self.digest)
        self.version = self.digest.hex()[:12]

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[Prepared]:
        """The answers of the static tier, and the rows of the other texts. Raises BlankText or TooLarge."""
        tickets = self.read_tickets(asks, max_tokens)
        if max_tokens is not None and any(sum(map(len, one.windows)) > max_tokens for one in tickets):
            raise too_many_tokens(max_tokens)
        reading = self.tier().read_texts([ticket.windows for ticket in tickets])
        confidences = softmax(reading.logits)
        guesses = self._guesses(asks, confidences, reading)
        prepared: list[Prepared] = []
        sure: list[int] = []
        for number, (ask, ticket, guess) in enumerate(zip(asks, tickets, guesses, strict=True)):
            sampled = not ticket.unreadable and self._is_sampled(ask.content)
            if not (ticket.unreadable or sampled) and guess.reached > self.promise.level(ask.tenant):
                sure.append(number)
                prepared.append(b"")
                continue
            rows = rows_of(ticket)
            if sampled:
                rows[0] = SampledRow(rows[0].tokens, guess)
            prepared.append(rows)
        answers = self._static_writer.answers(
            confidences[sure],
            reading.along[sure],
            [AskedTicket(asks[number].options, len(tickets[number].windows), False) for number in sure],
        )
        for number, answer in zip(sure, answers, strict=True):
            prepared[number] = answer
        self._count("static", len(sure))
        return prepared

    def _guesses(self, asks: Sequence[Ask], confidences: Floats, reading: StaticReading) -> list[Guess]:
        best = confidences.argmax(axis=1)
        highest = confidences.max(axis=1).tolist()
        agreed = reading.agreed(best).tolist()
        along = reading.along.tolist()
        whole = whole_confidences(highest, agreed, along, self._margin, self._cascade.spread)
        return [
            Guess(label, bisect_right(self._steps(self._human(ask.options)), confidence))
            for ask, label, confidence in zip(asks, best.tolist(), whole, strict=True)
        ]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a TriageOutput for each request that the encoder answers."""
        judged = self.judged(finished)
        for one, confidences, along in zip(finished, judged.confidences, judged.along, strict=True):
            first = one.rows[0]
            if isinstance(first, SampledRow):
                label = int(confidences.argmax())
                needs_human = round(float(confidences[label]), DECIMALS) < self._human(one.options)
                changed = label != first.guess.category or needs_human or bool(along > self._margin)
                self.promise.observe(first.tenant, first.guess.reached, changed)
        self._count("encoder", len(finished))
        return self.answers(finished, judged)

    def _count(self, tier: Tier, answers: int) -> None:
        with self._counting:
            self._answered[tier] += answers

    def _human(self, options: TriageOptions) -> float:
        """The confidence below which a human is needed."""
        return self._threshold if options.threshold is None else options.threshold

    def _is_sampled(self, text: str) -> bool:
        """By its content: the sample is the same when a text is delivered again, and on each worker."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=SAMPLING).digest()
        return int.from_bytes(digest, "big") < self._sampled_below

    def _warn(self, tenant: str, level: int) -> None:
        of_tenant = f" of the tenant {tenant!r}" if tenant else ""
        sure = self._steps(self._threshold)[level]
        _log.warning(
            "The static tier of %s would change more than %.3g %% of the answers%s: from now on %s.",
            self.model,
            self._cascade.limit * 100,
            of_tenant,
            "the encoder answers all" if sure > 1 else f"it needs a confidence of {sure:.4f}",
        )

    def figures(self) -> Iterable[TaskFigure]:
        """What the operator sees of it."""
        promise = self.promise
        for tier, count in self._answered.items():
            yield TaskFigure(
                "inferstream_tier_answers",
                "Answers that were computed, by tier.",
                {"tier": tier},
                count,
                True,
            )
        sampled, changed = promise.sampled, promise.changed
        yield TaskFigure(
            "inferstream_tiers_compared", "Texts for which both tiers were asked.", {}, sampled, True
        )
        yield TaskFigure(
            "inferstream_tiers_changed",
            "Those of them whose answer the static tier would change.",
            {},
            changed,
            True,
        )
        yield TaskFigure(
            "inferstream_tiers_changed_share_high",
            "Upper 95 % bound of the share of answers that the static tier changes.",
            {},
            upper_share(changed, sampled),
        )
        yield TaskFigure(
            "inferstream_tiers_raised_tenants",
            "Tenants whose threshold was raised.",
            {},
            promise.tenants_above,
        )
        sentence = (
            "Confidence that the static tier needs; '*' stands for all tenants with the threshold of the fit."
        )
        for tenant, level in [("*", 0), *((one.tenant, one.level) for one in promise.above(MAX_SHOWN))]:
            sure = min(self._steps(self._threshold)[level], 1.0)
            yield TaskFigure("inferstream_static_tier_sure", sentence, {"tenant": tenant}, sure)
