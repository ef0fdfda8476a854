"""A Kafka client of another make (librdkafka) that sends requests and reads replies."""

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from inferstream.schemas.topics import Topics

TIMEOUT_S: Final = 120.0


class ForeignClient:
    """Sends and reads JSON on a task's topics, without our client."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topics = topics
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
        )
        self.replies: list[dict[str, Any]] = []

    def send(self, requests: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Publish requests by their keys and wait until they are durable."""
        for key, request in requests:
            self._producer.produce(self._topics.requests, json.dumps(request).encode(), key.encode())
            self._producer.poll(0)
        assert self._producer.flush(TIMEOUT_S) == 0

    def read(self, count: int) -> None:
        """Read until ``count`` requests have a reply. The reply topic must exist."""
        if not self._consumer.assignment():
            self._consumer.assign(self._partitions())
        end = time.monotonic() + TIMEOUT_S
        while len(self.answered) < count:
            assert time.monotonic() < end, f"{len(self.answered)} of {count} answered after {TIMEOUT_S:g} s"
            for record in self._consumer.consume(500, 0.2):
                assert record.error() is None, record.error()
                self.replies.append(json.loads(record.value()))

    @property
    def answered(self) -> set[str]:
        return {reply["id"] for reply in self.replies}

    def topic_names(self) -> set[str]:
        """All topics of the cluster."""
        return set(self._consumer.list_topics(timeout=TIMEOUT_S).topics)

    def _partitions(self) -> list[TopicPartition]:
        topic = self._topics.replies
        numbers = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]

    def close(self) -> None:
        self._consumer.close()
