"""Workers of `generate` behind Kafka for a run, and the clients that ask them."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from msgspec.structs import replace

from ...client.client import Client
from ...config import CacheConfig, Config, EngineConfig, KafkaConfig
from ...models.manifest import Manifest
from ...tasks.generate.definition import GENERATE
from ..bench.bench import Bench, Command
from .over_kafka import OverKafka

CONTEXT: Final = 1024
SESSION_MS: Final = 120_000
"""So a worker that is paused for the turns of the others stays in its group."""


def config_for(manifest: Manifest, kafka: KafkaConfig, rows: int, **settings: Any) -> Config:
    """One lane. Nothing is kept of answers, or of prompts unless ``settings`` of the task say so."""
    given = {
        "model": manifest.name,
        "rows": rows,
        "context": min(CONTEXT, manifest.max_tokens),
        "prefix_tokens": 0,
        **settings,
    }
    return Config(
        kafka=replace(kafka, session_timeout_ms=SESSION_MS),
        cache=CacheConfig(enabled=False),
        engine=EngineConfig(lanes=1, provider="cpu"),
        tasks={GENERATE: given},
    )


class BenchWorkers:
    """Starts workers on one bench; its clients are closed with ``stack``."""

    def __init__(self, bench: Bench, stack: AsyncExitStack) -> None:
        self._bench = bench
        self._stack = stack

    async def start(
        self,
        commands: Mapping[str, Callable[[KafkaConfig], list[str]]],
        workers: Mapping[str, int] | None = None,
    ) -> dict[str, OverKafka]:
        """The systems by name, each with ``workers`` processes, ready. They run."""
        kafkas: dict[str, KafkaConfig] = {}
        systems = await self._bench.start(
            {name: _noting(kafkas, name, command) for name, command in commands.items()}, "Hello.", workers
        )
        return {
            name: OverKafka(system.process, await self._stack.enter_async_context(Client(kafkas[name])))
            for name, system in systems.items()
        }


def _noting(kafkas: dict[str, KafkaConfig], name: str, command: Command) -> Command:
    def noted(kafka: KafkaConfig) -> list[str]:
        kafkas[name] = kafka
        return command(kafka)

    return noted
