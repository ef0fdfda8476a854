"""The demo: send traffic through a pipeline, collect its figures, audit the topics."""

import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from ....schemas.messages import Failure, Request
from ...broker.base import Broker
from ...client.client import Client
from ...client.replies import Answer
from ...errors import Timeout
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import AuditReport
from ...ops.scan import end_offsets
from .figures import Figures
from .traffic import Traffic

MAX_IN_FLIGHT: Final = 64
TIMEOUT_S: Final = 60.0

Observe = Callable[[Request, Answer[Any] | Failure, Figures], None]
"""Called with each request, its reply, and the figures so far."""


class DemoResult(NamedTuple):
    """The figures from the replies, and the audit of the topics."""

    figures: Figures
    audit: AuditReport

    @property
    def failures(self) -> int:
        return self.audit.failures.total() + self.audit.expired

    @property
    def terminal_events(self) -> int:
        audit = self.audit
        return audit.results + self.failures + audit.dead_letters + audit.duplicated

    @property
    def clean(self) -> bool:
        """Whether each request has ended exactly once."""
        return not (self.audit.unended or self.audit.lost or self.audit.repeated)


async def run_demo(
    broker: Broker, client: Client, audited: Audited, traffic: Traffic, observe: Observe
) -> DemoResult:
    """Send the traffic, then audit what was added to the topics since. Raises BrokerError."""
    audited = audited._replace(id_prefix=f"{traffic.run}-")
    starts = await end_offsets(broker, audited.names)
    figures = await _send(client, audited.topics.task, traffic, observe)
    return DemoResult(figures, await audit(broker, audited, starts=starts, clock=time.time))


async def _send(client: Client, task: str, traffic: Traffic, observe: Observe) -> Figures:
    clock = time.perf_counter
    sent: dict[str, tuple[Request, float]] = {}

    def requests() -> Iterator[Request]:
        for request in traffic.requests:
            sent[str(request.id)] = request, clock()
            yield request

    figures = Figures(clock(), clock())
    answers = client.map(
        task,
        requests(),
        ordered=False,
        max_in_flight=MAX_IN_FLIGHT,
        timeout_s=TIMEOUT_S,
        tenant=traffic.run,  # a tenant of its own: the cache of an earlier run must not answer
    )
    async with aclosing(answers):
        async for answer in answers:
            request_id = answer.id if isinstance(answer, Failure) else answer.reply.id
            request, sent_at = sent.pop(request_id)
            figures.observe(answer, sent_at, clock(), traffic.expected.get(request_id))
            observe(request, answer, figures)
            if isinstance(answer, Failure) and answer.code == Timeout.code:
                break  # the audit reports what is missing
    return figures
