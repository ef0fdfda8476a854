"""When a new release may answer: once all living members of the group have it, or after a time limit."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ...delivery.members import Members

log = logging.getLogger(__name__)

CHECK_S: Final = 0.1


class EligibleReleases:
    """Knows the members of all groups of a process, by their task."""

    def __init__(self, members: Mapping[str, Sequence[Members]], limit_s: float) -> None:
        self._members = members
        self._limit_s = limit_s

    def all_have(self, task: str, version: str) -> bool:
        """Whether every other member has the release too; a worker alone waits for none."""
        return not any(self._lacking(task, version))

    async def until_all_have(self, task: str, version: str) -> None:
        """Return then, or after the time limit."""
        ends_at = time.monotonic() + self._limit_s
        while lacking := list(self._lacking(task, version)):
            if time.monotonic() >= ends_at:
                log.warning(
                    "%s@%s is served although other members of the group do not have it after %g s: %s.",
                    task,
                    version,
                    self._limit_s,
                    ", ".join(lacking[:5]),
                )
                return
            await asyncio.sleep(CHECK_S)

    def _lacking(self, task: str, version: str) -> Iterator[str]:
        for members in self._members.get(task, ()):
            if len(members.living) > 1:
                yield from members.lacking(f"{task}@{version}")
