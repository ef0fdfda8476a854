"""How a group's partitions are divided among its members."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import TopicPartition
from inferstream.pipeline.broker.embedded.group import range_assignment

SIZES = {"a": 1, "b": 4, "c": 7}
subscriptions = st.lists(st.sets(st.sampled_from(sorted(SIZES)), min_size=1), min_size=1, max_size=5)


@given(subscriptions)
def test_each_partition_has_one_owner_who_subscribed_to_it(subscribed: list[set[str]]) -> None:
    shares = range_assignment([{topic: SIZES[topic] for topic in topics} for topics in subscribed])
    owned = [partition for share in shares for partition in share]
    assert sorted(owned) == [
        TopicPartition(topic, number)
        for topic in sorted(set().union(*subscribed))
        for number in range(SIZES[topic])
    ]
    assert all(
        partition.topic in topics
        for topics, share in zip(subscribed, shares, strict=True)
        for partition in share
    )


@given(st.integers(1, 6), st.integers(1, 20))
def test_shares_differ_by_one_at_most(members: int, partitions: int) -> None:
    lengths = [len(share) for share in range_assignment([{"t": partitions}] * members)]
    assert max(lengths) - min(lengths) <= 1
