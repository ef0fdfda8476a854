"""The workers of one task around an engine, and how their parts fit together."""

import os
import socket
import time
from functools import cache, partial
from secrets import token_hex
from typing import Any

from msgspec.structs import replace

from ...schemas.messages import Request
from ...schemas.topics import Topics
from ..broker.base import Broker
from ..config import Config
from ..delivery.admission import Admission
from ..delivery.announcing import Announcer
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
from ..delivery.retries import tier_name
from ..delivery.retry_returner import RetryReturner
from ..delivery.routing import MemberRoute
from ..delivery.topic_watch import TopicWatch, check_regularly
from ..delivery.undelivered import Undelivered
from ..delivery.window import Window
from ..delivery.worker import Subscription, Worker
from ..engine.engine import Engine
from ..engine.trials.answering import TrialEngine
from ..models.releases.registry.opening import open_registry
from ..tasks.chains.chain import ChainStep
from ..telemetry import TaskMetrics
from .rollouts.label_reader import LabelReader
from .rollouts.watcher import RolloutWatcher
from .serving import TaskWorkers
from .topics import chain_specs, labels_spec, members_spec, topic_specs


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
    task = step.declared.task if step else topics.task
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
    resumes = piece is not None and engine.resumes(task)
    resuming = Resuming(broker, piece, replies.mark) if resumes else None
    answers = AnswerPolicy(replies, metrics, breaker, resuming)
    failures = FailurePolicy(topics, config.retries, replies, metrics, breaker, stamp)

    # What watches a candidate beside the stable version.
    trials = TrialEngine(engine)
    name = f"{stamp.worker}/{token_hex(4)}"  # a process may host two workers of a group
    registry = cache(partial(open_registry, config.registry.url, limit_s=config.registry.timeout_s))
    watcher = RolloutWatcher(engine, task, registry, name)
    labels = LabelReader(
        broker, labels_spec(topics, config.kafka), f"{group}.labels", kind, watcher, trials.comparisons
    )
    watching = (trials.comparisons.run, *(() if step else (watcher.run, labels.run)))

    # The loops over the broker.
    handler = Handler(trials, reader, reply_topics, admission, answers, failures)
    window = Window(config.window, broker.publish, busy=partial(engine.delays, BUSY_DELAY_S))
    subscription = Subscription([topics.requests], group, member)
    topic_watch = TopicWatch(broker.partitions, [spec.name for spec in specs])
    checks = partial(check_regularly, topic_watch.check, reply_topics.refresh)
    window.resumes = resumes
    announcer = Announcer(
        broker,
        members_spec(topics, config.kafka),
        (name, group),
        has=lambda: engine.names(task),
        reads=lambda: worker.partitions,
    )
    background = (checks, cancels.run, announcer.run, *watching)
    resumed = () if resuming is None else (resuming.run,)
    worker = Worker(broker, handler, window, subscription, (*background, *resumed), breaker)
    route = MemberRoute(announcer.members, partial(topic_watch.known, topics.requests))
    tiers = sorted(set(config.retries.tiers_s))
    returners = [_returner(config, broker, topics, seconds, subscription, route) for seconds in tiers]

    _watch(metrics, worker, breaker)
    return TaskWorkers(topics.label, worker, returners, specs, announcer.members)


def _returner(
    config: Config,
    broker: Broker,
    topics: Topics,
    seconds: int,
    requests: Subscription,
    route: MemberRoute,
) -> Worker:
    """A worker for one retry tier: what waits 30 s must not fill the window of what waits 1 s.

    It drains and hands over at once: a waiting record stays in its topic, for the next owner.
    """
    tier = tier_name(seconds)
    at_once = replace(config.window, drain_timeout_ms=0, revoke_timeout_ms=0)
    return Worker(
        broker,
        RetryReturner(topics, seconds, route=route),
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
