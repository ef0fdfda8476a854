"""The client of a command: over Kafka, over a folder, or with a worker in the same process."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import structs

from ...client.client import Client
from ...config import Config
from ...errors import UsageError


def connection(
    task: str,
    models: Sequence[str],
    config: Config,
    *,
    kafka: str | None,
    embedded: Path | None,
    timeout_s: float,
) -> AbstractAsyncContextManager[Client]:
    """A client of the workers at ``kafka`` or ``embedded``; without either, of a worker in this process.

    Kafka must answer within ``timeout_s``. Raises UsageError if both are given.
    """
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: the workers are in one of the two places.")
    if kafka:
        limit_ms = max(1, min(config.kafka.connect_timeout_ms, round(timeout_s * 1e3)))
        return Client(structs.replace(config.kafka, bootstrap=kafka, connect_timeout_ms=limit_ms))
    if embedded:
        return Client(embedded=embedded, prefix=config.kafka.topic_prefix)
    from ...serving.edge import Edge

    return Edge(config, task=task, models=models)
