"""What a consumer group begins with, told to the operator: both brokers say it in the same words."""

import logging
from collections import defaultdict
from collections.abc import Mapping

from .base import TopicPartition

log = logging.getLogger(__name__)


def log_starts(
    group: str,
    committed: Mapping[TopicPartition, int | None],
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> None:
    """Warn of records that are read without an offset, and of records that were deleted unread."""
    unknown: defaultdict[str, int] = defaultdict(int)
    deleted: defaultdict[str, int] = defaultdict(int)
    beyond: defaultdict[str, int] = defaultdict(int)
    for at, offset in committed.items():
        if offset is None:
            unknown[at.topic] += ends[at] - begins[at]
        elif offset > ends[at]:
            beyond[at.topic] += ends[at] - begins[at]
        else:
            deleted[at.topic] += max(0, begins[at] - offset)
    for topic, count in unknown.items():
        if count:
            log.warning(
                "The group %s has no offsets for %s: it reads the %d records that are there. If the group is not "
                "new, its offsets have expired, and requests that were answered are answered again.",
                group,
                topic,
                count,
            )
    for topic, count in beyond.items():
        log.warning(
            "The offsets of the group %s are behind the end of %s, which was deleted and created again: the "
            "%d records that are there are read from the first one on.",
            group,
            topic,
            count,
        )
    for topic, count in deleted.items():
        if count:
            log.warning(
                "%d records of %s were deleted before the group %s has read them, by the topic's retention: raise "
                "it, or look for the time without workers.",
                count,
                topic,
                group,
            )
