"""Serves the task `steps`: the real pipeline around a model that is none. The catalogue does not have this task."""

import time
from pathlib import Path

from ...schemas.topics import Topics
from ..broker.base import Broker
from ..config import Config
from ..engine.batching import Limits
from ..engine.cache.memory import MemoryCache
from ..engine.cost import Cost
from ..engine.crash_note import CrashNote
from ..engine.device import Device
from ..engine.engine import Engine
from ..engine.lanes import LaneSettings
from ..engine.model_entry import ModelEntry
from ..serving.serving import Serving
from ..serving.task_workers import task_workers
from ..telemetry import WorkerMetrics
from .steps import CONTRACT, Steps, StepsModel

LIMITS = Limits(4_096, 64)


def steps_serving(
    config: Config, broker: Broker, model: StepsModel, *, limits: Limits = LIMITS, notes: Path | None = None
) -> Serving:
    """Workers as `build_worker` makes them, with one lane for ``model``; not started.

    ``notes``: the folder of the crash note. A step counts by wall time: a fake one may only sleep.
    """
    costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in model.phases}
    lane = LaneSettings(1, time.monotonic, time.monotonic)
    device = Device(model, limits, costs, lane, note=CrashNote(notes, 1) if notes else None)
    memory = MemoryCache(config.cache.memory_bytes) if config.cache.enabled else None
    served = {Steps.name: {Steps.name: ModelEntry(Steps(), device)}}
    engine = Engine(served, memory=memory, disk=None, clock=time.monotonic)
    metrics = WorkerMetrics()
    topics = Topics(Steps.name, config.kafka.topic_prefix)
    workers = task_workers(config, broker, topics, engine, metrics.of_task(Steps.name), piece=CONTRACT.piece)
    return Serving(broker, engine, [workers], metrics)
