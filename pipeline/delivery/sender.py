"""Publishes the answers of slots: parts while they are being made, then the outcome; in order per key."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from ..broker.base import Message
from .linger import Busy, Linger
from .outcome import Outcome
from .slots import Slot

Publish = Callable[[Message], "asyncio.Future[None]"]

NOTHING: Final = Outcome(())
CHUNK: Final = Outcome((), lambda: NOTHING, if_not_writable=lambda _: NOTHING)
"""Stands for a chunk: one that the broker refuses is left out, since the outcome has the whole answer."""


class Sender:
    """Publishes what slots hold, and tells when an outcome is durable. Lives on the event loop.

    Of each slot at most one chunk is on its way. The next one is made when it is durable, and brings all
    that is known by then: so neither a slow broker nor an answer of many parts lets chunks pile up.
    """

    def __init__(self, publish: Publish, busy: Busy, finished: Callable[[Slot], None]) -> None:
        """``finished`` is called with a slot when all of its outcome is durable."""
        self._publish = publish
        self._finished = finished
        self._broken = asyncio.Event()
        self._error: BaseException | None = None
        self._linger: Linger[Slot] = Linger(self._send, busy)
        self.put = self._linger.put
        """Publish the outcome of a slot, behind those that were put before."""

    async def watch(self) -> None:
        """Return never; raise the error of a publish that failed for good."""
        await self._broken.wait()
        if self._error is not None:
            raise self._error

    def say(self, slot: Slot) -> None:
        """Publish the next part of the answer, if there is one.

        Does nothing while an earlier outcome of the key is not published, or a part is on its way:
        the part is then made when that has changed. Nor if the slot has its outcome, or is forgotten.
        """
        while slot.chunks is not None and not (slot.silent or slot.saying or slot.queue.forgotten):
            if not self._may_publish(slot):
                return
            message = slot.chunks()
            if message is None:
                return
            acknowledgement = self._publish(message)
            slot.saying = acknowledgement
            if acknowledgement.done():
                self._said(slot, acknowledgement)
                continue
            _remember(slot, acknowledgement)
            acknowledgement.add_done_callback(partial(self._say_more, slot))

    def _say_more(self, slot: Slot, acknowledgement: "asyncio.Future[None]") -> None:
        self._said(slot, acknowledgement)
        self.say(slot)

    def _said(self, slot: Slot, acknowledgement: "asyncio.Future[None]") -> None:
        """A part is durable, or was refused: then the request gets no more of them, only its outcome."""
        slot.saying = None
        _forget(slot, acknowledgement)
        error = None if acknowledgement.cancelled() else acknowledgement.exception()
        if error is not None or acknowledgement.cancelled():
            slot.chunks = None
        if error is not None and not slot.queue.forgotten and not CHUNK.mends(error):
            self._break(error)

    def _send(self, slot: Slot) -> None:
        if slot.outcome is None or slot.queue.forgotten:
            return
        key = slot.key
        following = slot.next_of_key  # a slot that is finished has neither
        self._publish_all(slot, slot.outcome)
        if following is not None:
            following.silent = False
            self.say(following)
        elif key is not None:
            del slot.queue.last_of_key[key]

    def _may_publish(self, slot: Slot) -> bool:
        """False once a publish has failed for good: a later reply would overtake the one that failed.

        The process ends then, and the next owner of the partition answers both in order. A future
        that has failed tells its callbacks only in the next turn of the loop, hence the second look.
        """
        earlier = slot.queue.unacknowledged_of_key.get(slot.key) if slot.key is not None else None
        if earlier is not None and self._error is None and (error := _failed_for_good(earlier)):
            self._break(error)
        return self._error is None

    def _break(self, error: BaseException) -> None:
        """Publish nothing more, and let `watch` raise the error."""
        self._error = error
        self._broken.set()

    def _publish_all(self, slot: Slot, outcome: Outcome) -> None:
        # Replacements do not linger: the next of the key may be about to be published.
        slot.outcome = outcome
        slot.unacknowledged = len(outcome.messages)
        for message in outcome.messages:
            if not self._may_publish(slot):
                return
            acknowledgement = self._publish(message)
            if acknowledgement.done():  # refused: its replacement goes before the next of the key
                self._acknowledged(slot, acknowledgement)
                continue
            _remember(slot, acknowledgement)
            acknowledgement.add_done_callback(partial(self._acknowledged, slot))

    def _acknowledged(self, slot: Slot, acknowledgement: "asyncio.Future[None]") -> None:
        """One message is durable, or was refused: continue with what follows, or finish."""
        outcome = slot.outcome
        cancelled = acknowledgement.cancelled()
        error = None if cancelled else acknowledgement.exception()
        _forget(slot, acknowledgement)
        if slot.queue.forgotten:
            return
        if error is not None and outcome is not None and (instead := outcome.instead(error)):
            self._publish_all(slot, instead)
            return
        if cancelled:
            return
        if error is not None:
            self._break(error)
            return
        slot.unacknowledged -= 1
        if slot.unacknowledged:
            return
        if outcome is not None and outcome.then is not None:
            self._publish_all(slot, outcome.then)
        else:
            self._finished(slot)


def _remember(slot: Slot, acknowledgement: "asyncio.Future[None]") -> None:
    """This is the last message of the slot's key that is not durable."""
    if slot.key is not None:
        slot.acknowledgement = acknowledgement
        slot.queue.unacknowledged_of_key[slot.key] = slot


def _forget(slot: Slot, acknowledgement: "asyncio.Future[None]") -> None:
    """Forget the last message of the key if it was this one."""
    if slot.acknowledgement is acknowledgement:
        slot.acknowledgement = None
        if slot.key is not None and slot.queue.unacknowledged_of_key.get(slot.key) is slot:
            del slot.queue.unacknowledged_of_key[slot.key]


def _failed_for_good(slot: Slot) -> BaseException | None:
    """The error of the slot's last message, if nothing replaces it; None as long as there is none."""
    last = slot.acknowledgement
    if last is None or not last.done() or last.cancelled():
        return None
    error = last.exception()
    outcome = CHUNK if last is slot.saying else slot.outcome
    return None if error is None or (outcome is not None and outcome.mends(error)) else error
