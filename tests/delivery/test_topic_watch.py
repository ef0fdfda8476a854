"""A topic that vanished or shrank ends the worker; added partitions are used; a silent broker changes nothing."""

import pytest

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.config import LimitConfig
from inferstream.pipeline.delivery.arrival import Arrival
from inferstream.pipeline.delivery.reply_topics import ReplyTopics
from inferstream.pipeline.delivery.topic_watch import TopicWatch
from inferstream.pipeline.errors import BrokerError, NotWritable, ReplyTopicNotAllowed
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
    ("later", "sentence"), [(None, "was deleted"), (1, "was recreated with 1 partitions")]
)
async def test_a_topic_that_is_gone_or_smaller_is_an_error(later: int | None, sentence: str) -> None:
    cluster = Cluster(a=4, b=4)
    watch = TopicWatch(cluster.partitions, ["a", "b"])
    await watch.check()
    cluster.topics["b"] = later
    with pytest.raises(BrokerError, match=f"The topic b {sentence}.*start the worker again"):
        await watch.check()


async def test_a_broker_that_does_not_answer_changes_nothing() -> None:
    cluster = Cluster(a=4)
    watch = TopicWatch(cluster.partitions, ["a"])
    await watch.check()
    cluster.topics["a"] = BrokerError("No answer.")
    await watch.check()
    cluster.topics["a"] = 2
    with pytest.raises(BrokerError, match="it had 4"):
        await watch.check()


async def test_replies_use_partitions_that_were_added() -> None:
    cluster = Cluster(**{TOPICS.replies: 2})
    replies = ReplyTopics(TOPICS, LimitConfig(), cluster.partitions)
    await replies.check(TOPICS.replies)
    cluster.topics[TOPICS.replies] = 4
    await replies.refresh()
    arrival = Arrival(Record(TOPICS.requests, 3, 0, None, b"{}", (), 0), {}, TOPICS.replies)
    assert replies.assign(arrival)
    assert arrival.reply_partition == 3
    cluster.topics[TOPICS.replies] = None
    with pytest.raises(BrokerError, match="was deleted"):
        await replies.refresh()


async def test_a_named_reply_topic_that_is_gone_is_forgotten_and_one_that_grew_is_used() -> None:
    names = [f"{TOPICS.replies}.{name}" for name in ("gone", "grown", "silent")]
    cluster = Cluster(**{TOPICS.replies: 2}, **dict.fromkeys(names, 2))
    replies = ReplyTopics(TOPICS, LimitConfig(), cluster.partitions)
    for topic in (TOPICS.replies, *names):
        await replies.check(topic)
    cluster.topics |= dict(zip(names, (None, 5, BrokerError("No answer.")), strict=True))
    await replies.refresh()
    found = {}
    for topic in (TOPICS.replies, *names):
        arrival = Arrival(Record(TOPICS.requests, 4, 0, None, b"{}", (), 0), {}, topic)
        found[topic] = (replies.assign(arrival), arrival.reply_partition)
    assert found == dict(
        zip((TOPICS.replies, *names), [(True, 0), (False, None), (True, 4), (True, 0)], strict=True)
    )
    with pytest.raises(ReplyTopicNotAllowed, match="does not exist"):
        await replies.check(names[0])
    cluster.topics[names[0]] = 1
    again = ReplyTopics(TOPICS, LimitConfig(), cluster.partitions)
    await again.check(names[0])


async def test_a_reply_topic_that_took_no_reply_is_asked_for_again() -> None:
    cluster = Cluster(**{f"{TOPICS.replies}.mine": 2})
    replies = ReplyTopics(TOPICS, LimitConfig(), cluster.partitions)
    arrival = Arrival(Record(TOPICS.requests, 3, 0, None, b"{}", (), 0), {}, f"{TOPICS.replies}.mine")
    await replies.check(arrival.reply_topic)
    assert replies.assign(arrival)
    error = replies.gone(arrival.reply_topic, NotWritable("It was deleted: create it."))
    assert isinstance(error, ReplyTopicNotAllowed)
    assert f"{TOPICS.replies}.mine" in str(error)
    assert "It was deleted: create it. Then replay the request." in str(error)
    assert not replies.assign(arrival)
