"""An embedded broker with the topics of triage."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.responder import TOPICS

from inferstream.pipeline.broker.base import TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.requests, 4), TopicSpec(TOPICS.replies, 4)])
        yield broker
