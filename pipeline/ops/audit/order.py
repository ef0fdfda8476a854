"""The order per key: first replies must come in the order of their requests."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from .work_file import OrderedReply


def out_of_order(replies: Iterable[OrderedReply]) -> Iterator[OrderedReply]:
    """First replies that are before the first reply to an earlier request of their key.

    ``replies`` must be in the order of partition, key and offset of their requests. Replies are
    compared only within one partition of one topic.
    """
    for _, of_key in groupby(replies, lambda reply: (reply.source, reply.key)):
        highest: dict[int, int] = {}
        for _, of_request in groupby(of_key, lambda reply: reply.position):
            first = _first(list(of_request))
            if first.reply_position < highest.get(first.reply_source, -1):
                yield first
            else:
                highest[first.reply_source] = first.reply_position


def _first(replies: Sequence[OrderedReply]) -> OrderedReply:
    """The earliest reply, by offset: the clocks of two workers may differ.

    If partitions were added, replies may be in two of them: then time chooses the partition.
    """
    source = min(replies, key=lambda reply: reply.reply_timestamp_ms).reply_source
    return min(
        (reply for reply in replies if reply.reply_source == source), key=lambda reply: reply.reply_position
    )
