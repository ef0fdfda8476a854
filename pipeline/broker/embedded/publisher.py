"""Publishing to an embedded broker: messages published during one transaction go into the next one."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from ..base import Message
from .database import Database
from .log import Log

TRANSACTION_RECORDS: Final = 4_096

Entry = tuple[Message, asyncio.Future[None]]


class EmbeddedPublisher:
    """Groups messages into transactions, in the order of the calls."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._pending: deque[Entry] = deque()
        self._task: asyncio.Task[None] | None = None

    def publish(self, message: Message) -> asyncio.Future[None]:
        """See `Broker.publish`."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._pending.append((message, future))
        if self._task is None:
            self._task = self._loop.create_task(self._drain())
        return future

    async def flush(self) -> None:
        """Wait until all published messages are stored or refused."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        try:
            while self._pending:
                count = min(len(self._pending), TRANSACTION_RECORDS)
                await self._append([self._pending.popleft() for _ in range(count)])
        finally:
            self._task = None

    async def _append(self, entries: list[Entry]) -> None:
        refusals: Sequence[Exception | None]
        try:
            refusals = await self._database.run(self._log.append, [message for message, _ in entries])
        except Exception as error:
            refusals = [error] * len(entries)
        for (_, future), refusal in zip(entries, refusals, strict=True):
            if future.done():
                continue
            if refusal is None:
                future.set_result(None)
            else:
                future.set_exception(refusal)
        self._database.notify()
