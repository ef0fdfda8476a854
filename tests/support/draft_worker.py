"""A chain of three tasks whose last one generates: `echo` and `steps` are fakes, the decoder is tiny.

Also a program, which a test may kill.
"""

import sys
from collections.abc import Collection
from typing import Any, Final

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.config import CacheConfig, ChainConfig, Config, StepConfig
from inferstream.pipeline.serving.loading import ModelLoader
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.tasks.catalogue import tasks
from inferstream.pipeline.tasks.generate import loading
from inferstream.pipeline.telemetry import WorkerMetrics
from support.chain_worker import EchoDefinition, StepsDefinition, chain_config, chain_serving
from support.generate_worker import SlowGenerator, generate_config
from support.steps_worker import broker_at

DRAFT: Final = "draft"
TASKS: Final = ("echo", "steps", "generate")
MESSAGES: Final = [
    {"role": "system", "content": "Asked: {request.text:.40}"},
    {"role": "user", "content": "{text:.40}, {output.text:.40}"},
]
OPTIONS: Final[dict[str, Any]] = {"max_tokens": 100}


def draft_config(prefix: str, options: dict[str, Any] = OPTIONS, **settings: Any) -> Config:
    """Settings that declare the chain; ``options`` are those of its last step."""
    last = StepConfig("generate", options=options, request={"messages": MESSAGES})
    chain = ChainConfig(["echo", StepConfig("steps", text="{output.echo}"), last])
    given: dict[str, Any] = {
        "chains": {DRAFT: chain},
        "cache": CacheConfig(enabled=False),
        "tasks": generate_config(prefix).tasks,
    }
    return chain_config(prefix, **given | settings)


def draft_serving(config: Config, broker: Broker, served: Collection[str] = TASKS) -> Serving:
    """Workers of the tasks ``served`` and of their steps; not started. The home folder has the tiny decoder."""
    more = {}
    if "generate" in served:
        more["generate"] = ModelLoader(config, WorkerMetrics()).entries(tasks().find("generate"))
    return chain_serving(config, broker, served, more=more)


def main(place: str, prefix: str, served: str) -> None:
    """Serve tasks, joined by commas, on a folder or on the Kafka at an address, until SIGTERM."""
    loading.Generator = SlowGenerator  # type: ignore[misc]
    for one in (EchoDefinition(), StepsDefinition()):
        tasks().include(one)
    broker = broker_at(place)
    serving = draft_serving(draft_config(prefix), broker, served.split(","))

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    main(*sys.argv[1:])
