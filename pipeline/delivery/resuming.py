"""Goes on with answers in pieces that another worker has begun: what it told is read from the reply topic."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ..broker.base import Broker, Message
from ..errors import InferstreamError
from .arrival import Arrival
from .reply_log import ReplyLog, ToldName
from .resumed import Resumed
from .retries import asked_ms

log = logging.getLogger(__name__)

READ_S: Final = 10.0
"""The longest that requests wait for what was told before: then they begin at the first piece."""

CLOCKS_MS: Final = 10_000
"""How much the clock of a client, whose time a request may have, may be ahead of that of the replies."""

IDLE_S: Final = 10.0
"""A reply topic of which nothing is asked for so long is closed: nothing more is redelivered."""

MAX_LOGS: Final = 4
"""Reply topics that are open at once: requests choose them."""

GIVE_UP_S: Final = 30.0
"""After a reply topic could not be read, it is not tried again for so long."""


Mark = Callable[[Arrival, Resumed], Message]


class Waiting(NamedTuple):
    """A request that waits for what was told to it before."""

    arrival: Arrival
    epoch: int
    found: "asyncio.Future[Resumed]"

    @property
    def partition(self) -> int:
        return self.arrival.reply_partition or 0


class Resuming:
    """Finds for a request that was read again where it goes on. Lives on the event loop; `run` must run.

    First a mark is published: an empty chunk with an epoch of its own. What stands before it in the log was told,
    and is kept; what an earlier owner still publishes behind it does not count. So every reader of the log sees
    the same pieces, whatever a worker does that was suspended and does not know that it was replaced.

    Several requests share one reading. It is bounded in time and bytes. Where it is not possible, a request
    begins at its first piece again.
    """

    def __init__(
        self, broker: Broker, piece: Any, mark: Mark, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``piece``: the type of a piece in the task's contract. ``mark`` makes the mark of a request."""
        self._broker = broker
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[piece])
        self._mark = mark
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._asked = asyncio.Event()
        self._logs: dict[str, ReplyLog] = {}
        self._given_up: dict[str, float] = {}

    async def resumed(self, arrival: Arrival, epoch: int) -> Resumed:
        """Where it goes on. ``epoch``: that of this worker. Raises nothing."""
        found: asyncio.Future[Resumed] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(arrival, epoch, found))
        self._asked.set()
        return await found

    def decoded(self, output: bytes) -> Sequence[Any]:
        """The pieces of a JSON list. Raises msgspec.MsgspecError."""
        pieces: Sequence[Any] = self._decoder.decode(output)
        return pieces

    async def run(self) -> None:
        """Return never."""
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S if self._logs else None):
                        await self._asked.wait()
                except TimeoutError:
                    await self._close()
                    continue
                self._asked.clear()
                waiting = [one for one in self._waiting if not one.found.done()]
                self._waiting = []
                for topic in dict.fromkeys(one.arrival.reply_topic for one in waiting):
                    await self._resume(topic, [one for one in waiting if one.arrival.reply_topic == topic])
        finally:
            await self._close()

    async def _resume(self, topic: str, waiting: list[Waiting]) -> None:
        """Answer all that wait for one topic."""
        begun: dict[int, Resumed] = {}
        try:
            if self._given_up.get(topic, -GIVE_UP_S) + GIVE_UP_S > self._clock():
                raise InferstreamError("it could not be read a short time ago")
            async with asyncio.timeout(READ_S):
                await self._read(topic, waiting, begun)
        except Exception as error:
            await self._give_up(topic, error)
        unmarked = [one for one in waiting if id(one) not in begun]
        if unmarked:
            await self._publish([(one, Resumed((), one.epoch, 0)) for one in unmarked])
        for one in waiting:
            if not one.found.done():
                found = begun.get(id(one), Resumed((), one.epoch, 0))
                one.found.set_result(Resumed((), found.epoch, found.seq + 1))

    async def _read(self, topic: str, waiting: list[Waiting], begun: dict[int, Resumed]) -> None:
        if topic not in self._logs:
            while len(self._logs) >= MAX_LOGS:
                await self._logs.pop(next(iter(self._logs))).close()
            self._logs[topic] = await ReplyLog.open(self._broker, topic)
        reading = self._logs[topic]
        names = {id(one): self._name(one) for one in waiting}
        since: dict[int, int] = {}
        for one in waiting:
            asked = max(0, asked_ms(one.arrival) - CLOCKS_MS)
            since[one.partition] = min(asked, since.get(one.partition, asked))
            if (told := reading.told.get(names[id(one)])) is not None and told.given:
                reading.restart(one.partition)
        await reading.begin(since)
        await reading.read_on(since)

        for one in waiting:
            told = reading.told.get(names[id(one)])
            begun[id(one)] = (
                Resumed((), one.epoch, 0)
                if told is None
                else Resumed((), max(one.epoch, told.epoch + 1), told.seq)
            )
        await self._publish([(one, begun[id(one)]) for one in waiting])
        # Not to an end of the topic: an open transaction of another program may hide the marks behind it.
        await reading.read_until(
            since,
            lambda: all(
                (told := reading.told.get(names[id(one)])) is not None and told.epoch >= begun[id(one)].epoch
                for one in waiting
            ),
        )
        for one in waiting:
            self._give(one, reading, names[id(one)], begun[id(one)])

    def _give(self, one: Waiting, reading: ReplyLog, name: ToldName, begun: Resumed) -> None:
        seq = reading.told[name].seq
        version = reading.told[name].version
        try:
            pieces = reading.give(name, self._decoder)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning(
                "%s: its pieces cannot be decoded (%s): it begins at the first one.", name.id[:100], error
            )
            pieces = ()
        if not one.found.done():
            one.found.set_result(Resumed(pieces, begun.epoch, seq, version if pieces else ""))

    async def _publish(self, marks: list[tuple[Waiting, Resumed]]) -> None:
        """Publish the marks; one that is refused is left out: its replies will be refused too."""
        published = [self._broker.publish(self._mark(one.arrival, begun)) for one, begun in marks]
        await asyncio.gather(*published, return_exceptions=True)

    def _name(self, one: Waiting) -> ToldName:
        mark = self._mark(one.arrival, Resumed((), one.epoch, 0))
        return ToldName(one.partition, mark.key, one.arrival.reply_id)

    async def _give_up(self, topic: str, error: Exception) -> None:
        if topic not in self._given_up or self._given_up[topic] + GIVE_UP_S <= self._clock():
            self._given_up[topic] = self._clock()
            log.warning(
                "What was told on %s before this worker took over cannot be read (%s): such answers are made "
                "from their first piece on again.",
                topic,
                str(error).rstrip(".") or f"{READ_S:g} s were not enough",
            )
        if (reading := self._logs.pop(topic, None)) is not None:
            await reading.close()

    async def _close(self) -> None:
        while self._logs:
            _, reading = self._logs.popitem()
            await reading.close()
