"""Which replies count, when several workers have told one answer, one after the other."""

from msgspec import UNSET

from ...schemas.messages import Chunk, Reply


class Epochs:
    """The highest epoch of each pending request with chunks.

    A reply with a lower one does not count: it comes from a worker that does not know that it was replaced. The log
    decides: the worker that goes on has read all that stands before the mark with its epoch, and nothing behind it.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def counts(self, reply: Reply) -> bool:
        """Whether this reply, the next one of its request in the log, counts."""
        epoch = reply.epoch
        if epoch is UNSET:
            # An end is of use in any case: without it the request would wait for ever.
            return not isinstance(reply, Chunk) or reply.id not in self._highest
        highest = self._highest.get(reply.id, epoch)
        if epoch < highest:
            return False
        self._highest[reply.id] = epoch
        return True

    def forget(self, request_id: str) -> None:
        """The request has ended."""
        self._highest.pop(request_id, None)
