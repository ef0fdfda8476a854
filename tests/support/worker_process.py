"""Workers as processes of their own, and a foreign client (librdkafka) that sends and reads."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from inferstream.schemas.topics import Topics

PATIENCE_S = 120.0
INFERSTREAM = Path(sys.executable).with_name("inferstream")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; ``what`` is what is waited for."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.02)


class WorkerProcess:
    """`inferstream worker triage`, with its log in a file."""

    def __init__(self, log: Path, *arguments: str, home: Path | None = None) -> None:
        self._log = log
        command = [INFERSTREAM, "worker", "triage", "--web-port", "0", *arguments]
        variables = {**os.environ, "INFERSTREAM_HOME": str(home)} if home else None
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stderr=output, env=variables)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def status(self, page: str) -> int:
        """The status of one of its pages, 0 while it serves none."""
        found = re.search(r"http://[\d.]+:\d+", self.log)
        if not found:
            return 0
        try:
            with build_opener(ProxyHandler({})).open(found[0] + page, timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_for(self, words: str) -> None:
        """Wait until the log holds ``words``."""
        until(lambda: self._is_in_log(words), f"{words!r} in the log of a worker")

    def wait_ready(self) -> None:
        until(lambda: self._alive() and self.status("/readyz") == 200, "a worker to be ready")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status."""
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def _is_in_log(self, words: str) -> bool:
        return words in self.log or not self._alive()

    def _alive(self) -> bool:
        assert self._process.poll() is None, f"a worker ended: {self.log}"
        return True


class ForeignClient:
    """A Kafka client that knows nothing but the topics' names and JSON."""

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
        assert self._producer.flush(PATIENCE_S) == 0

    def read(self, count: int) -> None:
        """Read replies until `replies` has answers to so many requests. Their topic must be there."""
        if not self._consumer.assignment():
            self._consumer.assign(self._partitions())
        end = time.monotonic() + PATIENCE_S
        while len(self.answered) < count:
            assert time.monotonic() < end, f"{len(self.answered)} of {count} answered after {PATIENCE_S:g} s"
            for record in self._consumer.consume(500, 0.2):
                assert record.error() is None, record.error()
                self.replies.append(json.loads(record.value()))

    @property
    def answered(self) -> set[str]:
        return {reply["id"] for reply in self.replies}

    def topic_names(self) -> set[str]:
        """All topics of the cluster."""
        return set(self._consumer.list_topics(timeout=PATIENCE_S).topics)

    def _partitions(self) -> list[TopicPartition]:
        topic = self._topics.replies
        numbers = self._consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]

    def close(self) -> None:
        self._consumer.close()
