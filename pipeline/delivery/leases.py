"""Leases: what a client that does not live any more has left is cancelled."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from typing import Final, NamedTuple, Protocol

from ...schemas.cancels import Heartbeat
from ...schemas.codec import encode
from ..broker.base import Message

log = logging.getLogger(__name__)

DEFAULT_LEASE_S: Final = 10.0
MIN_LEASE_S: Final = 1.0
MAX_LEASE_S: Final = 3_600.0
MAX_NAME_CHARACTERS: Final = 200

PROBE_S: Final = 2.0
"""A broker that takes longer for our own heartbeat may also have held back those of the clients."""


class Lease(NamedTuple):
    """The lease of a request: a name of its client, and how long it lasts without a heartbeat."""

    name: str
    lasts_s: float


class LeaseHolder(Protocol):
    """A request in progress with a lease."""

    def lapse(self) -> None:
        """Its lease ran out."""
        ...

    def was_read(self, read: Mapping[str, int], now: float) -> None:
        """Its client says how much it has read of answers in pieces, by their ids; ``now`` in clock seconds."""
        ...


@dataclass(eq=False, slots=True)
class HeldLease:
    """A lease with requests in progress. Stamps are clock seconds.

    Attributes:
        heard_at: when its last heartbeat was read, or when none could be read for the last time.
        holders: its requests in progress, with when each was read and how long its lease lasts.
        probe: of the heartbeat of our own that is under way.
    """

    heard_at: float
    holders: dict[LeaseHolder, tuple[float, float]] = field(default_factory=dict)
    probe: str | None = None

    def lapsed(self, now: float) -> list[LeaseHolder]:
        return [
            holder
            for holder, (read_at, lasts_s) in self.holders.items()
            if max(self.heard_at, read_at) + lasts_s <= now
        ]


class Probe(NamedTuple):
    """A heartbeat of our own, sent when the lease ``name`` seemed to have run out."""

    name: str
    sent_at: float


class Leases:
    """The leases of the requests in progress, by name. Lives on the event loop.

    A lease counts from what this worker has read. It runs out only if the way of a heartbeat is open:
    before, a heartbeat of our own goes to the same partition, and is read from there within `PROBE_S`.
    So a broker that stalls, for writers or for readers, cancels nothing.
    """

    def __init__(
        self, topic: str, publish: Callable[[Message], "asyncio.Future[None]"], clock: Callable[[], float]
    ) -> None:
        self._topic = topic
        self._publish = publish
        self._clock = clock
        self._held: dict[str, HeldLease] = {}
        self._probes: dict[str, Probe] = {}
        self._own = f"worker-{token_hex(8)}"
        self._numbers = count()
        self._is_refused = False

    def hold(self, lease: Lease, holder: LeaseHolder) -> None:
        """A request with this lease is in progress now."""
        now = self._clock()
        held = self._held.get(lease.name)
        if held is None:
            held = self._held[lease.name] = HeldLease(now)
        held.holders[holder] = (now, lease.lasts_s)

    def release(self, lease: Lease, holder: LeaseHolder) -> None:
        """The request has ended."""
        held = self._held.get(lease.name)
        if held is not None:
            held.holders.pop(holder, None)
            if not held.holders:
                del self._held[lease.name]
                if held.probe is not None:
                    self._probes.pop(held.probe, None)  # it may never come back

    def heard(self, name: str, read: Mapping[str, int]) -> None:
        """A heartbeat was read. Those of leases without requests here are nothing to this worker."""
        held = self._held.get(name)
        if held is not None:
            now = held.heard_at = self._clock()
            if read:
                for holder in tuple(held.holders):
                    holder.was_read(read, now)
        elif (probe := self._probes.pop(name, None)) is not None:
            self._returned(probe)

    def check(self) -> None:
        """Send a heartbeat of our own for each lease that seems to have run out."""
        now = self._clock()
        for name, held in self._held.items():
            if held.probe is None and held.lapsed(now):
                held.probe = f"{self._own}-{next(self._numbers)}"
                self._send(held.probe, Probe(name, now))

    def _send(self, own_name: str, probe: Probe) -> None:
        self._probes[own_name] = probe
        # The key of the client's heartbeats: the same partition, so the same broker.
        message = Message(self._topic, encode(Heartbeat(own_name)), probe.name.encode(errors="replace"))
        self._publish(message).add_done_callback(lambda done: self._sent(own_name, done))

    def _sent(self, own_name: str, done: "asyncio.Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            return
        probe = self._probes.pop(own_name, None)
        if probe is not None:
            self._renew(probe)
        if not self._is_refused:
            self._is_refused = True
            log.warning(
                "No lease runs out, since this worker cannot write to %s: grant it Write. %s",
                self._topic,
                error,
            )

    def _returned(self, probe: Probe) -> None:
        held = self._held.get(probe.name)
        if held is None:
            return
        if self._clock() - probe.sent_at > PROBE_S:
            self._renew(probe)
            return
        held.probe = None
        for holder in held.lapsed(probe.sent_at):
            holder.lapse()

    def _renew(self, probe: Probe) -> None:
        """Heartbeats could not come: the lease begins again."""
        held = self._held.get(probe.name)
        if held is not None:
            held.heard_at = self._clock()
            held.probe = None
