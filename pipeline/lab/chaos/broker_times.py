"""Latency by the broker's clock: from the time at which it stored a request to that of its end.

The run shares its cores with the workers. The time that a request or a reply waits in the run's own
process is not the workers' doing, and does not count here.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from ....schemas.codec import DecodeError, decode_request
from ...broker.base import Broker, Record
from .request_log import ObservedEnd

READ_S: Final = 60.0
MAX_RECORDS: Final = 500
MAX_WAIT_MS: Final = 200


async def stored_requests(broker: Broker, topic: str) -> dict[str, list[int]]:
    """When the broker stored the requests of a topic, Unix milliseconds by id; what can be read in `READ_S`."""
    reader = await broker.consume([topic])
    stored: dict[str, list[int]] = {}
    try:
        ends = await reader.end_offsets(reader.assignment())
        latest = time.monotonic() + READ_S
        while time.monotonic() < latest and any(
            reader.positions().get(at, 0) < end for at, end in ends.items()
        ):
            for record in await reader.poll(MAX_RECORDS, MAX_WAIT_MS):
                if identity := _id_of(record):
                    stored.setdefault(identity, []).append(record.timestamp_ms)
    finally:
        await reader.close()
    return stored


def with_broker_times(seen: Sequence[ObservedEnd], stored: Mapping[str, Sequence[int]]) -> list[ObservedEnd]:
    """``seen`` with the latency by the broker's clock, where the request is known.

    Of requests with the same id, the first end is that of the first request.
    """
    left = {identity: list(reversed(times)) for identity, times in stored.items()}
    timed: list[ObservedEnd] = []
    for one in seen:
        times = left.get(one.id)
        timed.append(one._replace(stored_s=(one.replied_ms - times.pop()) / 1e3) if times else one)
    return timed


def _id_of(record: Record) -> str | None:
    if record.value is None or record.unread is not None:
        return None
    try:
        return decode_request(record.value).id
    except DecodeError as error:
        return error.id
