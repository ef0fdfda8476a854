"""The composition root: settings in, a pipeline that serves one task out."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from ...schemas.topics import Topics
from ..broker.base import Broker, TopicSpec
from ..config import CacheConfig, Config, EngineConfig, KafkaConfig, RetryConfig
from ..delivery.admission import Admission
from ..delivery.answers import AnswerPolicy
from ..delivery.breaker import Breaker
from ..delivery.cancel_reader import CancelReader, cancel_span_s
from ..delivery.failures import FailurePolicy, WorkerStamp
from ..delivery.handler import Handler
from ..delivery.linger import BUSY_DELAY_S
from ..delivery.replies import ReplyBuilder
from ..delivery.reply_topics import ReplyTopics
from ..delivery.request_reader import RequestReader
from ..delivery.retries import retry_topics, tier_name
from ..delivery.retry_returner import RetryReturner
from ..delivery.topic_watch import TopicWatch, check_regularly
from ..delivery.undelivered import Undelivered
from ..delivery.window import Window
from ..delivery.worker import Subscription, Worker
from ..engine.batcher import Batcher
from ..engine.batching import Limits
from ..engine.cache.disk import DiskCache
from ..engine.cache.memory import MemoryCache
from ..engine.cost import Cost
from ..engine.crash_note import CrashNote
from ..engine.device import Device
from ..engine.engine import Engine
from ..engine.lanes import LaneSettings
from ..engine.questions import ModelEntry
from ..errors import UsageError
from ..home import expanded, home_folder
from ..models.manifest import Manifest
from ..models.registry import ModelRegistry, split_name
from ..runtime.encoder import Encoder
from ..runtime.graph import Graph
from ..runtime.model import RUN
from ..runtime.providers import default_lanes
from ..runtime.sessions import Session
from ..tasks.triage.loading import load_triage
from ..telemetry import Metrics
from .serving import Serving

TASKS: Final = ("triage",)
DEFAULT_RETRIES: Final = RetryConfig()


def build_worker(
    config: Config,
    broker: Broker,
    task: str = "triage",
    *,
    models: Sequence[str] = (),
    group: str | None = None,
    member: str | None = None,
    batcher: type[Batcher] = Batcher,
    graph_of: Callable[[Session], Graph] = lambda session: session,
) -> Serving:
    """A worker for ``task`` on ``broker``, which the caller starts and stops. Loads the models.

    Args:
        models: names to serve, the first is the default; the models of the settings if empty.
        group: the consumer group, ``inferstream.<task>`` by default.
        member: makes the membership static: a restart within the session timeout moves no partitions.
        batcher: how waiting rows become batches; a benchmark compares another way with ours.
        graph_of: what the lanes run instead of the session; a test of faults wraps it.

    Raises UsageError for an unknown task, UnknownModel, ModelError, ProviderUnavailable.
    """
    if task not in TASKS:
        raise UsageError(f"There is no task {task!r}; there is: {', '.join(TASKS)}.")
    metrics = Metrics()
    entries = _model_entries(config, list(models) or [config.triage.model], metrics, batcher, graph_of)
    memory, disk = _caches(config.cache)
    engine = Engine(
        {task: entries},
        memory=memory,
        disk=disk,
        clock=time.monotonic,
        max_tokens=config.limits.max_request_tokens,
    )
    topics = Topics(task, config.kafka.topic_prefix)
    return build_serving(config, broker, topics, engine, metrics, group=group, member=member)


def build_serving(
    config: Config,
    broker: Broker,
    topics: Topics,
    engine: Engine,
    metrics: Metrics,
    *,
    group: str | None = None,
    member: str | None = None,
) -> Serving:
    """All that stands around an engine: a worker for the requests, and one for each retry topic."""
    group = group or f"{topics.prefix}.{topics.task}"
    specs = topic_specs(topics, config.kafka, config.retries)

    # What reads a request, and decides whether it may go to the device.
    limits = config.limits
    cancels = CancelReader(broker, topics.cancels, metrics, cancel_span_s(config.retries))
    reader = RequestReader(topics, limits.max_request_bytes, engine.clock, time.time, cancels.cancels)
    reply_topics = ReplyTopics(topics, limits, broker.partitions)
    admission = Admission(config.window.max_in_flight, config.window.max_bytes)

    # What makes its outcome.
    breaker = Breaker(config.breaker, time.monotonic)
    stamp = WorkerStamp(f"{socket.gethostname()}/{os.getpid()}", time.time)
    end_of = Undelivered(topics, reply_topics, metrics, stamp).end_of
    replies = ReplyBuilder(topics.task, limits.max_reply_bytes, limits.echo_headers, end_of)
    answers = AnswerPolicy(replies, metrics, breaker)
    failures = FailurePolicy(topics, config.retries, replies, metrics, breaker, stamp)

    # The loops over the broker.
    handler = Handler(engine, reader, reply_topics, admission, answers, failures)
    window = Window(config.window, broker.publish, busy=lambda: engine.delay_s > BUSY_DELAY_S)
    subscription = Subscription([topics.requests], group, member)
    topic_watch = TopicWatch(broker.partitions, [spec.name for spec in specs])
    checks = partial(check_regularly, topic_watch.check, reply_topics.refresh)
    worker = Worker(broker, handler, window, subscription, [engine.watch, checks, cancels.run], breaker)
    tiers = sorted(set(config.retries.tiers_s))
    returners = [_returner(config, broker, topics, seconds, subscription) for seconds in tiers]

    _watch(metrics, worker, breaker)
    return Serving(broker, engine, [worker, *returners], specs, metrics)


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


def _watch(metrics: Metrics, worker: Worker, breaker: Breaker) -> None:
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


def _caches(config: CacheConfig) -> tuple[MemoryCache | None, DiskCache | None]:
    if not config.enabled:
        return None, None
    memory = MemoryCache(config.memory_bytes)
    if config.disk_bytes == 0:
        return memory, None
    directory = expanded(config.directory, "cache.directory") if config.directory else home_folder()
    return memory, DiskCache(directory, config.disk_bytes)


def _model_entries(
    config: Config,
    names: Sequence[str],
    metrics: Metrics,
    batcher: type[Batcher],
    graph_of: Callable[[Session], Graph],
) -> dict[str, ModelEntry]:
    """The models by name. Those on the same graph share one session and its lanes.

    The name of an encoder without a precision means its int8 variant, here as in a pull: the two
    names are one entry.
    """
    registry = ModelRegistry()
    devices: dict[str, tuple[Session, Device]] = {}
    entries = {}
    for name in names:
        manifest, make = load_triage(registry, name, config.triage)
        if manifest.name not in devices:
            devices[manifest.name] = _device(manifest, config.engine, metrics, batcher, graph_of)
        session, device = devices[manifest.name]
        task = make(session)
        device.learn(manifest.max_tokens)
        entries[name] = ModelEntry(task, device)
        for same in _other_names(name, manifest):
            entries.setdefault(same, entries[name])
    return entries


def _other_names(name: str, manifest: Manifest) -> list[str]:
    """``minilm`` for ``minilm-int8`` and the reverse; none for a fitted model or another precision."""
    base, precision = split_name(manifest.name)
    if precision != "int8" or name not in (base, manifest.name):
        return []
    return [base, manifest.name]


def _device(
    manifest: Manifest,
    config: EngineConfig,
    metrics: Metrics,
    batcher: type[Batcher],
    graph_of: Callable[[Session], Graph],
) -> tuple[Session, Device]:
    session = Session(manifest.graph_path, provider=config.provider)
    settings = LaneSettings(
        config.lanes or default_lanes(session.provider),
        clock=time.monotonic,
        # A lane's own CPU time is the cost of a shape even while other processes share the core.
        stopwatch=time.thread_time if session.provider == "cpu" else time.monotonic,
        run_timeout_s=config.run_timeout_s,
    )
    device = Device(
        Encoder(graph_of(session), manifest.pad_id),
        Limits(config.token_budget or _token_budget(session.provider), config.max_rows),
        {RUN: Cost.load(home_folder() / "costs" / f"{manifest.version}-{session.provider}.json")},
        settings,
        note=CrashNote(home_folder() / "crashes" / manifest.name, settings.lanes),
        batcher=batcher,
    )
    device.on_batch = lambda stats: metrics.ran(*stats)
    return session, device


def _token_budget(provider: str) -> int:
    """On a CPU a batch that outgrows the caches costs more for each token; a GPU wants large ones."""
    return 1_024 if provider == "cpu" else 16_384
