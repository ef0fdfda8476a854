"""What was fetched is freed as soon as it was read, without a garbage collection."""

import gc
from typing import Any
from weakref import ref

from inferstream.pipeline.broker.kafka.fetching import bounded_result


class NoRecords:
    """The records of a partition, of which none are left."""

    next_fetch_offset = 0

    def __init__(self) -> None:
        self._consumer_record: Any = None


def test_a_fetch_is_freed_without_a_garbage_collection() -> None:
    gc.disable()
    try:
        fetched = bounded_result(("topic", 0), assignment=None, partition_records=NoRecords(), backoff=0)
        known = ref(fetched)
        del fetched
        assert known() is None
    finally:
        gc.enable()
