"""A worker process around an engine that a bench has made: all but the engine is what any worker does."""

import asyncio
import signal

from ...schemas.messages import Request
from ...schemas.topics import Topics
from ..broker.kafka.broker import KafkaBroker
from ..config import Config
from ..engine.engine import Engine
from ..serving.serving import Serving
from ..serving.task_workers import task_workers
from ..serving.tuning import tune_process
from ..telemetry import WorkerMetrics


async def serve_engine(
    config: Config,
    task: str,
    engine: Engine,
    *,
    kind: type[Request] = Request,
    metrics: WorkerMetrics | None = None,
) -> None:
    """Serve the task until SIGTERM. ``kind`` of its requests; ``metrics`` that the engine's models count in."""
    metrics = metrics or WorkerMetrics()
    async with KafkaBroker(config.kafka) as broker:
        topics = Topics(task, config.kafka.topic_prefix)
        workers = task_workers(config, broker, topics, engine, metrics.of_task(task), kind=kind)
        serving = Serving(broker, engine, [workers], metrics)
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()
