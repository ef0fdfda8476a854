"""The topics that a task or a chain needs."""

from typing import Final

from ...schemas.topics import Topics
from ..broker.base import TopicSpec
from ..config import Config, KafkaConfig, RetryConfig
from ..delivery.retries import retry_topics
from ..tasks.chains.chain import Chain, steps_of

DEFAULT_RETRIES: Final = RetryConfig()

MEMBERS_MS: Final = 3_600_000
"""How long announcements of members are kept: a living one announces itself every 10 s."""


def topic_specs(
    topics: Topics, kafka: KafkaConfig, retries: RetryConfig = DEFAULT_RETRIES
) -> list[TopicSpec]:
    """The topics that a task needs."""
    names = [topics.requests, topics.replies, topics.cancels, topics.dead_letters]
    names += retry_topics(topics, retries)
    return [TopicSpec(name, kafka.partitions, kafka.replication, kafka.retention_ms) for name in names]


def members_spec(topics: Topics, kafka: KafkaConfig) -> TopicSpec:
    """The topic of members: a worker serves on without it."""
    return TopicSpec(topics.members, 1, kafka.replication, MEMBERS_MS, compacted=True)


def labels_spec(topics: Topics, kafka: KafkaConfig) -> TopicSpec:
    """The topic of labels: a worker serves on without it."""
    return TopicSpec(topics.labels, kafka.partitions, kafka.replication, kafka.retention_ms)


def chain_specs(chain: Chain, config: Config) -> list[TopicSpec]:
    """The topics that a chain needs: a worker of one step also needs those of the next."""
    steps = steps_of(chain, config.kafka.topic_prefix)
    specs = [spec for step in steps for spec in topic_specs(step.topics, config.kafka, config.retries)]
    return list(dict.fromkeys(specs))
