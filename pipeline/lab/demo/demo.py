"""The demo: traffic through a pipeline, its figures, and an audit of the topics."""

import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Final, NamedTuple

from ....schemas.messages import Failure, Request
from ....schemas.topics import Topics
from ...broker.base import Broker
from ...client.client import Client
from ...client.replies import Answer
from ...errors import Timeout
from .audit import Auditor, Verdict
from .figures import Figures
from .traffic import Traffic

MAX_IN_FLIGHT: Final = 64
TIMEOUT_S: Final = 60.0


class Outcome(NamedTuple):
    figures: Figures
    verdict: Verdict


async def run_demo(
    broker: Broker,
    client: Client,
    topics: Topics,
    traffic: Traffic,
    observed: Callable[[Request, Answer | Failure, Figures], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Send the traffic, telling ``observed`` of each reply, then audit the topics. Raises BrokerError."""
    auditor = await Auditor.open(broker, topics, traffic.run)
    figures = await _stream(client, topics.task, traffic, observed, clock)
    return Outcome(figures, await auditor.judge())


async def _stream(
    client: Client,
    task: str,
    traffic: Traffic,
    observed: Callable[[Request, Answer | Failure, Figures], None],
    clock: Callable[[], float],
) -> Figures:
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
        tenant=traffic.run,  # so that no earlier run's cache answers
    )
    async with aclosing(answers):
        async for answer in answers:
            request_id = answer.id if isinstance(answer, Failure) else answer.reply.id
            request, at = sent.pop(request_id)
            figures.observe(answer, at, clock(), traffic.expected.get(request_id))
            observed(request, answer, figures)
            if isinstance(answer, Failure) and answer.code == Timeout.code:
                break  # the audit says what is missing
    return figures
