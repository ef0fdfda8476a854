"""Topic and header names. With the JSON bodies they are the whole contract for clients in other languages."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

PREFIX: Final = "inferstream"


class Topics(NamedTuple):
    """The topics of one task, e.g. ``inferstream.triage.requests``; or of one step of a chain.

    Attributes:
        task: its name, or that of the chain.
        prefix: what all names of topics begin with.
        step: of a chain, from 1. The later steps have requests and retries of their own, as in
            ``inferstream.triage-pt.step-2.requests``; all else belongs to the chain.
    """

    task: str
    prefix: str = PREFIX
    step: int = 1

    @property
    def label(self) -> str:
        """What is told apart in the names of topics and groups, and in metrics: ``triage-pt.step-2``."""
        return self.task if self.step == 1 else f"{self.task}.step-{self.step}"

    @property
    def requests(self) -> str:
        return f"{self.prefix}.{self.label}.requests"

    @property
    def replies(self) -> str:
        """The default reply topic, for requests without a reply topic of their own."""
        return f"{self.prefix}.{self.task}.replies"

    @property
    def cancels(self) -> str:
        """What clients do not want any more, and their heartbeats, see `cancels`."""
        return f"{self.prefix}.{self.task}.cancels"

    @property
    def labels(self) -> str:
        """Right answers that became known later, see `labels`."""
        return f"{self.prefix}.{self.task}.labels"

    @property
    def members(self) -> str:
        """What the workers of the group can answer, see `members`."""
        return f"{self.prefix}.{self.label}.members"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.{self.task}.dead-letters"

    @property
    def dead_letters_handled(self) -> str:
        """Marks of replayed or purged dead letters; the key is topic/partition/offset of the dead letter."""
        return f"{self.prefix}.{self.task}.dead-letters.handled"

    def retry(self, tier: str) -> str:
        """The topic of one retry tier, e.g. ``retry("30s")``. Its delay is constant, so records are due in order."""
        return f"{self.prefix}.{self.label}.retry.{tier}"

    def of_step(self, step: int) -> Self:
        """The topics of another step of the same chain."""
        return self._replace(step=step)

    def around(self, topic: str) -> Self:
        """The topics of the step whose requests or retries are on ``topic``; of the first one for any other topic."""
        own = re.escape(f"{self.prefix}.{self.task}")
        found = re.match(rf"{own}\.step-([1-9][0-9]{{0,3}})\.", topic)
        return self.of_step(int(found[1]) if found else 1)


class Header:
    """Record header names. Values are UTF-8; numbers are decimal ASCII."""

    REPLY_TOPIC: Final = "reply-topic"
    ORDER: Final = "order"  # ANY_ORDER: the order among requests of one key does not matter
    DEADLINE_MS: Final = "deadline-ms"  # Unix time in milliseconds
    PRIORITY: Final = "priority"  # one of PRIORITIES
    MODEL: Final = "model"
    TENANT: Final = "tenant"
    TRACEPARENT: Final = "traceparent"  # W3C Trace Context, copied to the reply
    ATTEMPT: Final = "attempt"  # 1 on the first delivery
    NOT_BEFORE_MS: Final = "not-before-ms"  # Unix time in milliseconds when a retry is due
    ORIGIN: Final = "origin"  # topic/partition/offset of the first delivery
    ORIGIN_MS: Final = (
        "origin-ms"  # Unix time in milliseconds of the first delivery, on records that are retried
    )
    RELEASE: Final = "release"  # the version that took the request first, on retries and replays
    LEASE: Final = "lease"  # a name of the client: without its heartbeats the request is cancelled
    LEASE_MS: Final = "lease-ms"  # how long the lease lasts without a heartbeat; default 10 000
    # On the later steps of a chain.
    ASKED_MS: Final = "asked-ms"  # when the chain was asked, Unix time in milliseconds
    ENDED: Final = "ended"  # the body is the Failure of an earlier step, to be passed on
    LAST_OFFSET: Final = (
        "last-offset"  # of the requests that a dead letter stands for; the first is in ORIGIN
    )
    ERROR_CODE: Final = "error-code"
    ERROR_MESSAGE: Final = "error-message"
    HISTORY: Final = "history"  # JSON: the error of each attempt
    KEYLESS: Final = "keyless"  # the key of a dead letter is its origin: a compacted topic takes none without
    WORKER: Final = "worker"
    VERSION: Final = "version"
    FAILED_AT_MS: Final = "failed-at-ms"
    LEFT_OUT: Final = "left-out"  # bytes that a dead letter lacks: of a large body, or of an unreadable batch


ANY_ORDER: Final = b"any"
PRIORITIES: Final = ("high", "normal", "low")
"""The most urgent first; the index is the level."""


def header_values(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """Header values by name. A header without a value is as if absent; of several the last value counts."""
    return {name: value for name, value in headers if value}


def origin(topic: str, partition: int, offset: int) -> str:
    """The position of a record: the id of a request without one. It is the same on redelivery."""
    return f"{topic}/{partition}/{offset}"
