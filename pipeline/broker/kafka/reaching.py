"""Bounds of the time that a connection may take, and the addresses that cannot be reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ...config import KafkaConfig
from ...errors import BrokerError
from .diagnosis import cause


def look_up_s(config: KafkaConfig) -> float:
    """Seconds that a look-up may take which needs the leaders of partitions: elections take some."""
    return 3 * config.connect_timeout_ms / 1e3


@asynccontextmanager
async def bounded(config: KafkaConfig, client: Any, doing: str, limit_s: float) -> AsyncIterator[None]:
    """Raise BrokerError if the block takes longer; it names the addresses that cannot be reached.

    ``client`` is aiokafka's AIOKafkaClient: it tries again without end, and only logs why.
    """
    deadline = asyncio.timeout(limit_s)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise await _no_answer(config, client, doing, limit_s) from error


async def _no_answer(config: KafkaConfig, client: Any, doing: str, limit_s: float) -> BrokerError:
    advertised = sorted({f"{broker.host}:{broker.port}" for broker in client.cluster.brokers()})
    if not advertised:
        return BrokerError(
            f"Cannot reach Kafka to {doing}: what listens at {config.bootstrap} did not answer within "
            f"{limit_s:g} s. Check the address, and that its security protocol is {config.security_protocol}."
        )
    reasons = await asyncio.gather(*(cause(address, config) for address in advertised))
    failed = [f"{at} ({reason})" for at, reason in zip(advertised, reasons, strict=True) if reason]
    if failed:
        return BrokerError(
            f"Cannot reach Kafka to {doing}: {config.bootstrap} answers, but names brokers that cannot be "
            f"reached from here: {', '.join(failed)}. Correct their advertised.listeners, or the way to them."
        )
    return BrokerError(
        f"Kafka did not {doing} within {limit_s:g} s: {', '.join(advertised)} accepts connections, but does not "
        "answer. Check that all of its brokers are up, and that their advertised.listeners are right."
    )
