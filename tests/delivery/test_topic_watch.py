"""A topic that vanished or shrank ends the worker; one that grew is used; a silent broker is no news."""

import pytest

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.config import LimitConfig
from inferstream.pipeline.delivery.replies import ReplyTopics
from inferstream.pipeline.delivery.topic_watch import TopicWatch
from inferstream.pipeline.errors import BrokerError
from inferstream.schemas.topics import Topics

TOPICS = Topics("triage")


class Cluster:
    """Topics by their numbers of partitions; an error instead is raised."""

    def __init__(self, **topics: int | BrokerError | None) -> None:
        self.topics = topics

    async def partitions(self, topic: str) -> int | None:
        found = self.topics[topic]
        if isinstance(found, BrokerError):
            raise found
        return found


@pytest.mark.parametrize(
    ("later", "sentence"), [(None, "was deleted"), (1, "was made anew with 1 partitions")]
)
async def test_a_topic_that_is_gone_is_told(later: int | None, sentence: str) -> None:
    cluster = Cluster(a=4, b=4)
    watch = TopicWatch(cluster.partitions, ["a", "b"])
    await watch.look()
    cluster.topics["b"] = later
    with pytest.raises(BrokerError, match=f"The topic b {sentence}.*start the worker again"):
        await watch.look()


async def test_a_broker_that_cannot_tell_ends_nothing_and_nothing_is_forgotten() -> None:
    cluster = Cluster(a=4)
    watch = TopicWatch(cluster.partitions, ["a"])
    await watch.look()
    cluster.topics["a"] = BrokerError("Nobody answers.")
    await watch.look()
    cluster.topics["a"] = 2
    with pytest.raises(BrokerError, match="it had 4"):
        await watch.look()


async def test_replies_use_partitions_that_were_added() -> None:
    cluster = Cluster(**{TOPICS.replies: 2})
    replies = ReplyTopics(TOPICS, LimitConfig(), cluster.partitions)
    await replies.check(TOPICS.replies)
    cluster.topics[TOPICS.replies] = 4
    await replies.look()
    address = replies.address(Record(TOPICS.requests, 3, 0, None, b"{}", (), 0), TOPICS.replies, "id")
    assert address
    assert address.partition == 3
    cluster.topics[TOPICS.replies] = None
    with pytest.raises(BrokerError, match="was deleted"):
        await replies.look()
