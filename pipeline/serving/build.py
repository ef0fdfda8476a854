"""The composition root: settings in, a pipeline that serves one or several tasks out."""

import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from ...schemas.messages import Request
from ...schemas.topics import Topics
from ..broker.base import Broker, TopicSpec
from ..config import CacheConfig, Config, KafkaConfig, RetryConfig
from ..delivery.admission import Admission
from ..delivery.answers import AnswerPolicy
from ..delivery.breaker import Breaker
from ..delivery.cancel_reader import CancelReader, cancel_span_s
from ..delivery.chain import StepReader, StepReplies
from ..delivery.failures import FailurePolicy, WorkerStamp
from ..delivery.handler import Handler
from ..delivery.linger import BUSY_DELAY_S
from ..delivery.replies import ReplyBuilder
from ..delivery.reply_topics import ReplyTopics
from ..delivery.request_reader import RequestReader
from ..delivery.resuming import Resuming
from ..delivery.retries import retry_topics, tier_name
from ..delivery.retry_returner import RetryReturner
from ..delivery.topic_watch import TopicWatch, check_regularly
from ..delivery.undelivered import Undelivered
from ..delivery.window import Window
from ..delivery.worker import Subscription, Worker
from ..engine.batcher import Batcher
from ..engine.cache.disk import DiskCache
from ..engine.cache.memory import MemoryCache
from ..engine.engine import Engine
from ..errors import UsageError
from ..home import expanded, home_folder
from ..runtime.graph import Graph
from ..runtime.sessions import Session
from ..tasks.catalogue import contract_of, tasks
from ..tasks.chains.chain import Chain, ChainStep, steps_of
from ..tasks.chains.declared import chains_of, task_models
from ..telemetry import TaskMetrics, WorkerMetrics
from .loading import ModelLoader
from .serving import Serving, TaskWorkers
from .step_options import check_step_options

DEFAULT_RETRIES: Final = RetryConfig()


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
    models = {one.name: loader.entries(one, names[one.name]) for one in definitions}
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
    return Serving(broker, engine, of_tasks, metrics)


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


def task_workers(
    config: Config,
    broker: Broker,
    topics: Topics,
    engine: Engine,
    metrics: TaskMetrics,
    *,
    group: str | None = None,
    member: str | None = None,
    kind: type[Request] = Request,
    piece: Any = None,
    step: ChainStep | None = None,
) -> TaskWorkers:
    """All that stands around an engine for one task: a worker for the requests, and one for each retry topic.

    ``kind``: the type of the requests, ``piece``: of a piece of an answer. ``step``: the step of a chain that these
    workers are.
    """
    group = group or f"{topics.prefix}.{topics.label}"
    specs = chain_specs(step.chain, config) if step else topic_specs(topics, config.kafka, config.retries)

    # What reads a request, and decides whether it may go to the device.
    limits = config.limits
    cancels = CancelReader(broker, topics.cancels, metrics, cancel_span_s(config.retries))
    cancels.cancels.unread_s = limits.unread_s
    reading = (limits.max_request_bytes, engine.clock, time.time, cancels.cancels)
    reader = StepReader(step, *reading) if step else RequestReader(topics, *reading, kind)
    reply_topics = ReplyTopics(topics, limits, broker.partitions)
    admission = Admission(config.window.max_in_flight, config.window.max_bytes)

    # What makes its outcome.
    breaker = Breaker(config.breaker, time.monotonic)
    stamp = WorkerStamp(f"{socket.gethostname()}/{os.getpid()}", time.time)
    end_of = Undelivered(topics, reply_topics, metrics, stamp).end_of
    replying = (limits.max_reply_bytes, limits.echo_headers, end_of)
    replies = StepReplies(step, *replying) if step else ReplyBuilder(topics.task, *replying)
    resumes = piece is not None and engine.resumes(step.declared.task if step else topics.task)
    resuming = Resuming(broker, piece, replies.mark) if resumes else None
    answers = AnswerPolicy(replies, metrics, breaker, resuming)
    failures = FailurePolicy(topics, config.retries, replies, metrics, breaker, stamp)

    # The loops over the broker.
    handler = Handler(engine, reader, reply_topics, admission, answers, failures)
    window = Window(config.window, broker.publish, busy=partial(engine.delays, BUSY_DELAY_S))
    subscription = Subscription([topics.requests], group, member)
    topic_watch = TopicWatch(broker.partitions, [spec.name for spec in specs])
    checks = partial(check_regularly, topic_watch.check, reply_topics.refresh)
    window.resumes = resumes
    background = (checks, cancels.run) if resuming is None else (checks, cancels.run, resuming.run)
    worker = Worker(broker, handler, window, subscription, background, breaker)
    tiers = sorted(set(config.retries.tiers_s))
    returners = [_returner(config, broker, topics, seconds, subscription) for seconds in tiers]

    _watch(metrics, worker, breaker)
    return TaskWorkers(topics.label, worker, returners, specs)


def _returner(config: Config, broker: Broker, topics: Topics, seconds: int, requests: Subscription) -> Worker:
    """A worker for one retry tier: what waits 30 s must not fill the window of what waits 1 s.

    It drains and hands over at once: a waiting record stays in its topic, for the next owner.
    """
    tier = tier_name(seconds)
    at_once = replace(config.window, drain_timeout_ms=0, revoke_timeout_ms=0)
    return Worker(
        broker,
        RetryReturner(topics, seconds),
        Window(at_once, broker.publish),
        Subscription([topics.retry(tier)], f"{requests.group}.retry.{tier}", requests.member),
    )


def _watch(metrics: TaskMetrics, worker: Worker, breaker: Breaker) -> None:
    metrics.watch(
        "inferstream_in_flight", "Requests read and not yet answered.", lambda: worker.window.running
    )
    metrics.watch(
        "inferstream_breaker_open",
        "1 while nothing is read because too many requests became dead letters.",
        lambda: breaker.is_open,
    )


def topic_specs(
    topics: Topics, kafka: KafkaConfig, retries: RetryConfig = DEFAULT_RETRIES
) -> list[TopicSpec]:
    """The topics that a task needs."""
    names = [topics.requests, topics.replies, topics.cancels, topics.dead_letters]
    names += retry_topics(topics, retries)
    return [TopicSpec(name, kafka.partitions, kafka.replication, kafka.retention_ms) for name in names]


def chain_specs(chain: Chain, config: Config) -> list[TopicSpec]:
    """The topics that a chain needs: a worker of one step also needs those of the next."""
    steps = steps_of(chain, config.kafka.topic_prefix)
    specs = [spec for step in steps for spec in topic_specs(step.topics, config.kafka, config.retries)]
    return list(dict.fromkeys(specs))


def _caches(config: CacheConfig) -> tuple[MemoryCache | None, DiskCache | None]:
    if not config.enabled:
        return None, None
    memory = MemoryCache(config.memory_bytes)
    if config.disk_bytes == 0:
        return memory, None
    directory = expanded(config.directory, "cache.directory") if config.directory else home_folder()
    return memory, DiskCache(directory, config.disk_bytes)
