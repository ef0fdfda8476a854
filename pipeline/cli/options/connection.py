"""The client of a command: over Kafka, over a folder, or with a worker in the same process."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from msgspec import structs

from ...client.client import Client
from ...config import Config
from ...errors import UsageError
from ...tasks.catalogue import tasks


def connection(
    task: str,
    models: Sequence[str],
    config: Config,
    *,
    kafka: str | None,
    embedded: Path | None,
    timeout_s: float,
    options: Mapping[str, Any] | None = None,
) -> AbstractAsyncContextManager[Client]:
    """A client of the workers at ``kafka`` or ``embedded``; without either, of a worker in this process.

    The latter has ``models``; without names those of the settings, or those that the task chooses by the ``options``
    of the requests. Kafka must answer within ``timeout_s``. Raises UsageError if both are given.
    """
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: the workers are in one of the two places.")
    if kafka:
        limit_ms = max(1, min(config.kafka.connect_timeout_ms, round(timeout_s * 1e3)))
        return Client(structs.replace(config.kafka, bootstrap=kafka, connect_timeout_ms=limit_ms))
    if embedded:
        return Client(embedded=embedded, prefix=config.kafka.topic_prefix)
    from ...serving.edge import Edge

    return Edge(config, task=task, models=models or _chosen(task, config, options or {}))


def _chosen(task: str, config: Config, options: Mapping[str, Any]) -> Sequence[str]:
    definition = tasks().known(task)
    models_for = getattr(definition, "models_for", None)
    if definition is None or models_for is None or not options:
        return ()
    names: Sequence[str] = models_for(options, config.of_task(task, definition.settings))
    return names
