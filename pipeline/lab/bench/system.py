"""A system under measurement, alive through the whole run, and the load that is put on it in its turns."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Final

import psutil

from ....schemas import codec
from ....schemas.messages import Request
from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer, Message, Record
from ...errors import Timeout
from .processes import ProcessGroup, brokers, cpu_s
from .runs import Cpu, Paced, Run, number_of, run_of

READY_S: Final = 120.0
STALLED_S: Final = 120.0
MAX_UNACKNOWLEDGED: Final = 4_096
POLL_RECORDS: Final = 5_000
POLL_MS: Final = 200


class System:
    """One or several processes that answer the requests on topics of their own.

    Between its turns it waits for requests. ``replies`` reads its reply topic without a group.
    """

    def __init__(self, process: ProcessGroup, broker: Broker, topics: Topics, replies: Consumer) -> None:
        self.process = process
        self._broker = broker
        self._topics = topics
        self._replies = replies
        self._turns = itertools.count()
        self._load = psutil.Process()
        self._brokers = brokers()

    async def ready(self, text: str) -> None:
        """Return when a first request is answered. Raises InferstreamError if the process ends before."""
        turn = next(self._turns)
        self._publish(turn, 0, text)
        await self._read(turn, 1, READY_S)

    async def answer_all(self, texts: Sequence[str]) -> Run:
        """Full load: the process is paused until a request for each text is in its topic.

        Raises InferstreamError for a failure reply or when the process ends, Timeout when replies stop.
        """
        turn = next(self._turns)
        self.process.pause()
        try:
            await self._fill(turn, texts)
            before = self.cpu()
        finally:
            began = time.time()
            self.process.resume()
        records = await self._read(turn, len(texts), STALLED_S)
        return run_of(records, began, self.cpu().since(before))

    async def answer_paced(self, texts: Sequence[str], per_s: float) -> Paced:
        """A fixed rate: the schedule does not wait for answers, so a slow system shows as latency.

        The latency of a request is the time from its send to when its reply is read.
        """
        await self.ready(texts[0])  # the first request after a pause is slower
        turn = next(self._turns)
        sent: list[float] = []
        read: dict[int, float] = {}
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(turn, len(texts), STALLED_S, read))
            for number, text in enumerate(texts):
                await asyncio.sleep(began + number / per_s - time.perf_counter())
                sent.append(time.perf_counter())
                self._publish(turn, number, text)
        seconds = max(read.values()) - began
        return Paced(len(texts) / seconds, [(read[number] - at) * 1e3 for number, at in enumerate(sent)])

    async def close(self) -> None:
        """Close the reader of the replies; the process is not ended."""
        await self._replies.close()

    async def _fill(self, turn: int, texts: Sequence[str]) -> None:
        for first in range(0, len(texts), MAX_UNACKNOWLEDGED):
            batch = texts[first : first + MAX_UNACKNOWLEDGED]
            await asyncio.gather(
                *(self._publish(turn, number, text) for number, text in enumerate(batch, first))
            )

    def _publish(self, turn: int, number: int, text: str) -> asyncio.Future[None]:
        """Send one request. Each has a key of its own, so that a turn spreads over the partitions."""
        identity = f"{turn}-{number}"
        body = codec.encode(Request(text=text, id=identity))
        return self._broker.publish(Message(self._topics.requests, body, identity.encode()))

    async def _read(
        self, turn: int, wanted: int, timeout_s: float, read: dict[int, float] | None = None
    ) -> list[Record]:
        """The ``wanted`` replies of this turn; ``read`` gets the time at which each was read, by number."""
        own = b"%d-" % turn
        records: dict[int, Record] = {}
        newest = time.monotonic()
        while len(records) < wanted:
            polled = await self._replies.poll(POLL_RECORDS, POLL_MS)
            now = time.perf_counter()
            for record in polled:
                if (record.key or b"").startswith(own):
                    records.setdefault(number_of(record), record)
                    if read is not None:
                        read.setdefault(number_of(record), now)
            if polled:
                newest = time.monotonic()
                continue
            self.process.check()
            if time.monotonic() - newest > timeout_s:
                raise Timeout(f"{wanted - len(records)} of {wanted} replies did not come in {timeout_s:g} s.")
        return list(records.values())

    def cpu(self) -> Cpu:
        """The CPU time of its processes, of the brokers and of this process until now."""
        return Cpu(self.process.cpu_s(), sum(map(cpu_s, self._brokers)), cpu_s(self._load))
