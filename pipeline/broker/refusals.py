"""What both brokers refuse, in the same words."""

import logging
from collections.abc import Iterable

from ..errors import BrokerError, NotWritable
from .base import TopicPartition

log = logging.getLogger(__name__)


def no_topic(topic: str) -> NotWritable:
    return NotWritable(f"There is no topic {topic}: create it, or check its name for a typing error.")


def no_partition(topic: str, partition: int, count: int) -> BrokerError:
    return BrokerError(f"The topic {topic} has {count} partitions: there is no partition {partition}.")


def no_group() -> BrokerError:
    return BrokerError("A reader without a consumer group cannot commit offsets: give it a group.")


def log_lost(partitions: Iterable[TopicPartition]) -> None:
    """Warn that offsets of these partitions were not committed."""
    names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(partitions))
    log.warning(
        "Offsets of %s are not committed: a rebalance has revoked these partitions. "
        "Their new owner continues from the last committed offset.",
        names,
    )
