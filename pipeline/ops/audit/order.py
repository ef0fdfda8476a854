"""The order per key: nothing of a request may be told before the end of an earlier one of its key."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from .work_file import OrderedReply


def out_of_order(replies: Iterable[OrderedReply]) -> Iterator[OrderedReply]:
    """First replies, or chunks, that are before the first end of an earlier request of their key.

    ``replies`` must be in the order of partition, key and offset of their requests. Replies are
    compared only within one partition of one topic.
    """
    for _, of_key in groupby(replies, lambda reply: (reply.source, reply.key)):
        highest: dict[int, int] = {}
        for _, of_request in groupby(of_key, lambda reply: reply.position):
            known = list(of_request)
            first = _first(known)
            source = first.reply_source
            before = highest.get(source, -1)
            if first.reply_position < before:
                yield first
            highest[source] = max(before, _end(known, source))


def _end(replies: Sequence[OrderedReply], source: int) -> int:
    """The position of the first end of a request, or of its last chunk if it has none."""
    there = [reply for reply in replies if reply.reply_source == source]
    ends = [reply.reply_position for reply in there if reply.ends]
    return min(ends) if ends else max(reply.reply_position for reply in there)


def _first(replies: Sequence[OrderedReply]) -> OrderedReply:
    """The earliest reply, by offset: the clocks of two workers may differ.

    If partitions were added, replies may be in two of them: then time chooses the partition.
    """
    source = min(replies, key=lambda reply: reply.reply_timestamp_ms).reply_source
    return min(
        (reply for reply in replies if reply.reply_source == source), key=lambda reply: reply.reply_position
    )
