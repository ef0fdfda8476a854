"""Where a retried request goes: to a member of the group that has its model."""

from collections.abc import Callable

from ...schemas.topics import Header
from ..broker.base import Record
from .arrival import header_map
from .members import Members


class MemberRoute:
    """Chooses partitions of a request topic."""

    def __init__(self, members: Members, partitions: Callable[[], int]) -> None:
        """``partitions`` is the number that the request topic has now."""
        self._members = members
        self._partitions = partitions

    def partition(self, record: Record) -> int | None:
        """A partition whose reader has the model that the request names; None if its key may choose."""
        model = header_map(record).get(Header.MODEL)
        if model is None:
            return None
        return self._members.partition_for(model.decode(errors="replace"), record.key, self._partitions())
