"""The client tells the right answer to a request."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.responder import TOPICS

from inferstream import BrokerError, Client, NotUtf8, ShuttingDown, SyncClient, UsageError, WrongType
from inferstream.pipeline.broker.base import TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.schemas.labels import decode_label
from inferstream.schemas.topics import Header
from inferstream.testing import FakeClient

LABEL = {"category": "billing"}


async def test_a_label_is_the_request_once_more_with_the_right_values(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.labels, 2)])
        reader = await broker.consume([TOPICS.labels])
        async with Client(broker=broker) as client:
            await client.label(
                "triage", "I was charged twice", LABEL, options={"threshold": 0.2}, tenant="ada"
            )
        (record,) = await reader.poll(10, 5_000)
        assert json.loads(record.value or b"") == {
            "text": "I was charged twice",
            "options": {"threshold": 0.2},
            "label": LABEL,
        }
        assert decode_label(record.value).label == LABEL
        assert dict(record.headers) == {Header.TENANT: b"ada"}


async def test_a_missing_topic_is_told(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker, Client(broker=broker) as client:
        with pytest.raises(BrokerError, match=r"There is no topic inferstream.triage.labels: start a worker"):
            await client.label("triage", "text", LABEL)


@pytest.mark.parametrize(
    ("text", "label", "error"),
    [
        ("text", {}, UsageError),
        ("text", "billing", UsageError),
        ("text", {1: "a"}, UsageError),
        ("text", {"a": object()}, WrongType),
        ("text", {"a": "\ud800"}, NotUtf8),
        (b"text", LABEL, WrongType),
    ],
)
async def test_a_wrong_label_is_refused(text: Any, label: Any, error: type[Exception]) -> None:
    async with FakeClient({"triage": {}}) as client:
        with pytest.raises(error):
            await client.label("triage", text, label)


async def test_a_closed_client_sends_no_label() -> None:
    client = FakeClient({"triage": {}})
    async with client:
        pass
    with pytest.raises(ShuttingDown):
        await client.label("triage", "text", LABEL)


def test_a_sync_client_sends_labels_too(tmp_path: Path) -> None:
    with SyncClient(embedded=tmp_path) as client, pytest.raises(BrokerError, match="There is no topic"):
        client.label("triage", "text", LABEL)
