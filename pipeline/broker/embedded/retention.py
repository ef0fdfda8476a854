"""Retention of an embedded broker: old records are deleted, those that a group has not read are not.

The methods run in the database's thread.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from .database import OFFSET_BITS, Database

log = logging.getLogger(__name__)

INTERVAL_MS: Final = 10_000
STEP_MS: Final = 60_000
"""A difference of this size between wall clock and steady clock is a step, no drift."""

PARTITIONS: Final = """
SELECT id, next_offset, retention_ms, (
    SELECT min(coalesce(committed.next_offset, 0))
    FROM subscriptions LEFT JOIN committed
        ON committed.consumer_group = subscriptions.consumer_group AND committed.partition = partitions.id
    WHERE subscriptions.topic = partitions.topic
) AS unread FROM partitions WHERE retention_ms > 0
"""
OLDEST_TO_KEEP: Final = """
SELECT position FROM batches
WHERE position BETWEEN :first AND :last AND timestamp_ms >= :since ORDER BY position LIMIT 1
"""


def steady_time_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Retention:
    """Deletes what is older than its topic's retention time.

    Args:
        clock_ms: the Unix time in milliseconds, as records have it. It may be set while this runs:
            a step ahead makes no record older.
        steady_ms: milliseconds of a clock that is never set.
    """

    def __init__(
        self, database: Database, clock_ms: Callable[[], int], steady_ms: Callable[[], int] = steady_time_ms
    ) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._steady_ms = steady_ms
        self._last_ms = clock_ms()
        self._last_steady_ms = steady_ms()
        self._stepped_ms = 0

    @property
    def due(self) -> bool:
        return self._steady_ms() - self._last_steady_ms >= INTERVAL_MS

    def run(self) -> None:
        """Delete what may be deleted. On a full disk this fails, is logged, and is tried again later."""
        now_ms = self._now_ms()
        try:
            for partition_id, next_offset, retention_ms, unread in self._rows():
                oldest = self.oldest_since(partition_id, now_ms - retention_ms)
                offset = next_offset if oldest is None else oldest
                self.trim(partition_id, offset if unread is None else min(offset, unread))
        except sqlite3.OperationalError as error:
            log.warning("Old records in %s cannot be deleted yet: %s.", self._database.directory, error)

    def trim(self, partition_id: int, offset: int) -> None:
        """Delete the partition's records before ``offset``."""
        first, _ = span_of(partition_id)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE partitions SET first_offset = max(first_offset, min(?, next_offset)) WHERE id = ?",
                [offset, partition_id],
            )
            delete = "DELETE FROM batches WHERE position >= ? AND position + records <= ? AND position < ?"
            connection.execute(delete, [first, first + offset, first + offset])

    def oldest_since(self, partition_id: int, since_ms: int) -> int | None:
        """The offset of the first batch that is not older; None if all are."""
        first, last = span_of(partition_id)
        arguments = {"first": first, "last": last, "since": since_ms}
        row = self._database.connection.execute(OLDEST_TO_KEEP, arguments).fetchone()
        return row[0] - first if row else None

    def _now_ms(self) -> int:
        """The time by which records are old: the earlier of the clock, and the clock without its steps ahead."""
        wall_ms, steady_ms = self._clock_ms(), self._steady_ms()
        step_ms = (wall_ms - self._last_ms) - (steady_ms - self._last_steady_ms)
        self._last_ms = wall_ms
        self._last_steady_ms = steady_ms
        if abs(step_ms) >= STEP_MS:
            self._stepped_ms += step_ms
            log.warning(
                "The clock of this machine was set by %+d s: until a restart no record counts as older for it.",
                step_ms // 1000,
            )
        return min(wall_ms, wall_ms - self._stepped_ms)

    def _rows(self) -> list[tuple[int, int, int, int | None]]:
        return self._database.connection.execute(PARTITIONS).fetchall()


def span_of(partition_id: int) -> tuple[int, int]:
    """The first and the last position that a batch of this partition can have."""
    first = partition_id << OFFSET_BITS
    return first, first + (1 << OFFSET_BITS) - 1
