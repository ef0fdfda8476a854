"""How a command reaches workers: over Kafka, through the folder of an embedded broker, or in its own process."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import structs

from ...client.client import Client
from ...config import Config
from ...errors import UsageError


def connection(
    task: str, models: Sequence[str], config: Config, *, kafka: str | None, embedded: Path | None
) -> AbstractAsyncContextManager[Client]:
    """A client of the workers at the address or folder; without either, of a worker that it brings with it."""
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: the workers are in one of the two places.")
    if kafka:
        return Client(structs.replace(config.kafka, bootstrap=kafka))
    if embedded:
        return Client(embedded=embedded, prefix=config.kafka.topic_prefix)
    from ...serving.edge import Edge

    return Edge(config, task=task, models=models)
