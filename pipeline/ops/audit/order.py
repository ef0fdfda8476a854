"""Order per key: the first replies come in the order of the requests."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from .ledger import Replied


def out_of_order(replies: Iterable[Replied]) -> Iterator[Replied]:
    """First replies that stand before the first reply to an earlier request of the same key.

    ``replies`` come in the order of partitions, keys and offsets of the requests. Only replies in one partition of one
    topic have an order.
    """
    for _, of_key in groupby(replies, lambda reply: (reply.source, reply.key)):
        highest: dict[int, int] = {}
        for _, of_request in groupby(of_key, lambda reply: reply.position):
            first = _first(list(of_request))
            if first.reply_position < highest.get(first.reply_source, -1):
                yield first
            else:
                highest[first.reply_source] = first.reply_position


def _first(replies: Sequence[Replied]) -> Replied:
    """The reply that came first: by its offset, since the clocks of two workers may differ; by time only between
    partitions, of which a request has two when there came to be more.
    """
    source = min(replies, key=lambda reply: reply.reply_timestamp_ms).reply_source
    return min(
        (reply for reply in replies if reply.reply_source == source), key=lambda reply: reply.reply_position
    )
