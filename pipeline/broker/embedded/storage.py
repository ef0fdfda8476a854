"""What an embedded broker and its consumers share: the database, and the news that something was appended."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from .database import Database
from .log import Log
from .offsets import CommittedOffsets
from .topics import Topics


class Storage:
    """The parts that work on one directory; their methods go through ``database.run``."""

    def __init__(self, directory: Path, clock_ms: Callable[[], int]) -> None:
        self.database = Database(directory)
        self.topics = Topics(self.database)
        self.log = Log(self.database, self.topics, clock_ms)
        self.offsets = CommittedOffsets(self.database, self.topics)
        self._waiting: set[asyncio.Event] = set()

    def watch(self, event: asyncio.Event) -> None:
        """Have ``event`` set after every append."""
        self._waiting.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    def notify(self) -> None:
        for event in self._waiting:
            event.set()

    async def look_for_foreign_appends(self) -> None:
        """Notify when another process has written."""
        if self.database.was_written() and await self.database.run(self.database.changed_elsewhere):
            self.notify()
