"""Writes the answers of triage from confidences: category, priority, route, and whether a human is needed."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from ....schemas.messages import Category, TriageOptions, TriageOutput
from .classifier import Routing
from .confidence import Floats

Bools = NDArray[np.bool_]
Tier = Literal["static", "encoder"]

UNREADABLE: Final = (
    "The model cannot read most of this text: it knows neither the words nor the signs. A human must look."
)
DECIMALS: Final = 4  # of a confidence; further digits depend on the other rows of the batch


class AskedTicket(NamedTuple):
    """What an answer says of a ticket besides its category."""

    options: TriageOptions
    windows: int
    unreadable: bool  # then the scores say nothing


class AnswerWriter:
    """Writes answers with these labels."""

    def __init__(self, labels: Sequence[str], routing: Routing, tier: Tier | UnsetType = UNSET) -> None:
        """``tier``: what the answers say about who gave them."""
        self._labels = labels
        self._routing = routing
        self._tier = tier

    def answers(self, confidences: Floats, along: Floats, tickets: Sequence[AskedTicket]) -> list[bytes]:
        """The JSON of a TriageOutput for each ticket.

        ``confidences``: (tickets, labels). ``along``: how far each text points along the axis of urgency.
        """
        shown = 1 + max((ticket.options.runners_up for ticket in tickets), default=0)
        order = np.argsort(-confidences, axis=1, kind="stable")[:, :shown]
        highest = np.take_along_axis(confidences, order, axis=1)
        urgent = along > self._routing.margin
        rows = zip(
            tickets, highest.tolist(), order.tolist(), urgent.tolist(), strict=True
        )  # lists, because for the few numbers of a reply they are faster than arrays
        return [self._answer(*row) for row in rows]

    def _answer(self, ticket: AskedTicket, highest: list[float], order: list[int], urgent: bool) -> bytes:
        """``order``: the labels with the ``highest`` confidences."""
        labels = self._labels
        routing = self._routing
        options = ticket.options
        best = order[0]
        unreadable = ticket.unreadable
        if unreadable:  # the scores are those of the unknown token: they say nothing
            highest = [1 / len(labels)] * len(order)
        confidence = round(highest[0], DECIMALS)
        threshold = routing.threshold if options.threshold is None else options.threshold
        level = min(routing.levels[best] + urgent, len(routing.priorities) - 1)
        return msgspec.json.encode(
            TriageOutput(
                category=labels[best],
                confidence=confidence,
                priority=routing.priorities[level],
                route=routing.routes[best],
                needs_human=unreadable or confidence < threshold,
                runners_up=[
                    Category(labels[order[place]], round(highest[place], DECIMALS))
                    for place in range(1, min(1 + options.runners_up, len(order)))
                ],
                windows=ticket.windows,
                note=UNREADABLE if unreadable else UNSET,
                text_blocks=self._text_blocks(best, unreadable) if options.text_blocks else UNSET,
                tier=self._tier,
            )
        )

    def _text_blocks(self, best: int, unreadable: bool) -> list[str]:
        """Those of the category; none if the category says nothing about the ticket."""
        blocks = self._routing.text_blocks
        return list(blocks[best]) if blocks and not unreadable else []
