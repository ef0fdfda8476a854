"""The composition root: settings in, a pipeline that serves one or several tasks out."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from ...schemas.topics import Topics
from ..broker.base import Broker
from ..config import CacheConfig, Config
from ..engine.batcher import Batcher
from ..engine.cache.disk import DiskCache
from ..engine.cache.memory import MemoryCache
from ..engine.engine import Engine
from ..errors import UsageError
from ..home import expanded, home_folder
from ..runtime.graph import Graph
from ..runtime.sessions import Session
from ..tasks.catalogue import contract_of, tasks
from ..tasks.chains.chain import steps_of
from ..tasks.chains.declared import chains_of, task_models
from ..telemetry import WorkerMetrics
from .loading import ModelLoader
from .releases.eligible import EligibleReleases
from .releases.followed import ReleasedModels
from .releases.follower import Follower
from .releases.starting import Start
from .serving import Serving, TaskWorkers
from .step_options import check_step_options
from .task_workers import task_workers


def build_worker(
    config: Config,
    broker: Broker,
    served: Mapping[str, Sequence[str]],
    *,
    group: str | None = None,
    member: str | None = None,
    batcher: type[Batcher] = Batcher,
    graph_of: Callable[[Session], Graph] = lambda session: session,
) -> Serving:
    """Workers for tasks on ``broker``, which the caller starts and stops. Loads the models.

    Args:
        served: the tasks, each with the names of its models, of which the first is the default; without
            names, the models of the task's settings. The name of a chain stands for the tasks of its steps.
        group: the consumer group of one task; ``inferstream.<task>`` by default.
        member: makes the membership static: a restart within the session timeout moves no partitions.
        batcher: how waiting rows become batches; a benchmark compares another way with ours.
        graph_of: what the lanes run instead of the session; a test of faults wraps it.

    Raises UsageError for an unknown task, UnknownModel, ModelError, ProviderUnavailable.
    """
    names = task_models(served, config)
    if group and len(names) > 1:
        raise UsageError("A group is for one task: with several tasks leave it out, each has its own then.")
    metrics = WorkerMetrics()
    definitions = [tasks().find(name) for name in names]
    loader = ModelLoader(config, metrics, batcher, graph_of)
    start = Start(config, loader)
    try:
        served_models = [start.models(one, names[one.name]) for one in definitions]
    except BaseException:
        loader.forget(())  # what was loaded so far serves nothing
        raise
    models = {one.task: one.served() for one in served_models}
    check_step_options(chains_of(config).values(), models)
    memory, disk = _caches(config.cache)
    engine = Engine(
        models,
        memory=memory,
        disk=disk,
        clock=time.monotonic,
        max_tokens=config.limits.max_request_tokens,
    )
    prefix = config.kafka.topic_prefix
    of_tasks = [
        task_workers(
            config,
            broker,
            Topics(one.name, prefix),
            engine,
            metrics.of_task(one.name),
            group=group,
            member=member,
            kind=one.contract.request,
            piece=one.contract.piece,
        )
        for one in definitions
    ]
    of_tasks += step_workers(config, broker, engine, metrics, models, group=group, member=member)
    follower = _follower(config, engine, start, served_models, of_tasks, metrics)
    return Serving(broker, engine, of_tasks, metrics, follower)


def _follower(
    config: Config,
    engine: Engine,
    start: Start,
    served: Sequence[ReleasedModels],
    of_tasks: Sequence[TaskWorkers],
    metrics: WorkerMetrics,
) -> Follower | None:
    """What follows the aliases, if there are any."""
    followed = [models for models in served if models.aliases]
    if start.opener is None or not followed:
        return None
    members = {one.task: [of.members for of in of_tasks if of.task == one.task] for one in followed}
    eligible = EligibleReleases(members, config.registry.members_s)
    return Follower(engine, start.opener, followed, metrics, config.registry, eligible)


def step_workers(
    config: Config,
    broker: Broker,
    engine: Engine,
    metrics: WorkerMetrics,
    served: Collection[str],
    *,
    group: str | None = None,
    member: str | None = None,
) -> list[TaskWorkers]:
    """The workers of those steps of the chains in the settings whose tasks are ``served`` here.

    With a ``group`` of the task's own, theirs begin with its name.
    """
    chains = chains_of(config).values()
    steps = [step for chain in chains for step in steps_of(chain, config.kafka.topic_prefix)]
    return [
        task_workers(
            config,
            broker,
            step.topics,
            engine,
            metrics.of_task(step.topics.label),
            group=f"{group}.{step.topics.label}" if group else None,
            member=member,
            piece=contract.piece if (contract := contract_of(step.declared.task)) else None,
            step=step,
        )
        for step in steps
        if step.declared.task in served
    ]


def _caches(config: CacheConfig) -> tuple[MemoryCache | None, DiskCache | None]:
    if not config.enabled:
        return None, None
    memory = MemoryCache(config.memory_bytes)
    if config.disk_bytes == 0:
        return memory, None
    directory = expanded(config.directory, "cache.directory") if config.directory else home_folder()
    return memory, DiskCache(directory, config.disk_bytes)
