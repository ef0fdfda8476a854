"""Takes the texts of one stream, asks for their translations, and makes captions of the answers."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from ...errors import (
    BadHeader,
    InferstreamError,
    ShuttingDown,
    Superseded,
    UnknownModel,
    UnknownOption,
    UnknownTask,
    UsageError,
    WrongType,
)
from .attempts import answered
from .caption import Caption
from .measures import Measures
from .modes import Shown
from .open_segments import OpenSegments
from .requests import Reply, StreamRequests, output_of_reply
from .segment import Revision, Segment

TICK_S: Final = 0.15
"""Partials of all streams leave together, seven times a second: so they share batches. With 50 speakers that takes the
device 0.92 of the time that it takes with 0.1 s, and a reader has a word 15 ms later (docs/decisions/0022)."""

MAX_PARTIALS: Final = 4
"""Partials of a segment that are on their way. Further ones wait here, and only the newest of them is sent."""

MAX_FINALS: Final = 64
"""Finals that are on their way: the next one waits for room."""

OF_THE_STREAM: Final = (
    UnknownModel,
    UnknownTask,
    UnknownOption,
    WrongType,
    BadHeader,
    ShuttingDown,
    UsageError,
)
"""Errors that every segment of the stream would get: they end it."""


class OpenStream:
    """Lives on one event loop, from the entering of its stream to the leaving."""

    def __init__(self, requests: StreamRequests, shown: Callable[[], Shown]) -> None:
        """``shown``: makes what is shown of a new segment."""
        self.segments = OpenSegments()
        self.measures = Measures()
        self.changed = asyncio.Event()
        """Set when there may be a caption, or the end."""
        self.error: BaseException | None = None
        """What has ended the stream."""
        self._requests = requests
        self._shown = shown
        self._loop = asyncio.get_running_loop()
        self._current: Segment | None = None  # whose final was not sent
        self._numbers = 0
        self._held: str | None = None  # the newest partial, until it is sent
        self._tick: asyncio.TimerHandle | None = None
        self._finals = 0  # on their way
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def partial(self, text: str) -> None:
        """What is known of a segment that still grows: it is sent at the next tick, if no newer one comes."""
        if not text.strip():
            return
        self._segment().trace.sent(text, self._loop.time())
        self._held = text
        self._plan()

    async def final(self, text: str) -> None:
        """A segment that is complete. Waits while many finals are on their way."""
        segment = self._segment()
        self._current = None
        self._held = None
        revision = segment.end(text, self._loop.time())
        if revision is None:
            self._done(segment, text)
            return
        self._finals += 1
        reply = await self._requests.send(segment.number, revision)  # here: in the order of the segments
        self.start(self._finish(segment, revision, reply))
        await self.until(lambda: self._finals < MAX_FINALS)

    async def end(self) -> None:
        """Send the last partial of a segment without a final as its final."""
        if self._current is not None:
            await self.final(self._held or self._current.text)

    def take(self) -> Caption | None:
        """The next caption, if there is one."""
        caption = self.segments.take()
        if caption is not None and caption.final:
            self._room.set()
        return caption

    async def until(self, has_room: Callable[[], bool]) -> None:
        """Wait for room, or for the end of the stream."""
        while not has_room() and self.error is None:
            self._room.clear()
            await self._room.wait()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this until the stream is left. Its error ends the stream."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    async def close(self) -> None:
        """Cancel what is on its way."""
        self.end_by(UsageError("This stream was left: ask for a new one."))
        for timer in (self._timer, self._tick):
            if timer is not None:
                timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._requests.close()
        if tasks:
            await asyncio.wait(tasks)

    def end_by(self, error: BaseException) -> None:
        """End the stream by this error, unless it has ended by another one."""
        self.error = self.error or error
        self._room.set()
        self.changed.set()

    def _segment(self) -> Segment:
        """The segment whose final was not sent: a new one after a final."""
        if self._current is None:
            self._current = Segment(self._numbers, self._shown())
            self._numbers += 1
            self.segments.begin(self._current)
        return self._current

    def _plan(self) -> None:
        """Send the newest partial at the next tick, if there is room."""
        segment = self._current
        if self._held is None or self._tick is not None or segment is None:
            return
        if segment.pending < MAX_PARTIALS and self.error is None:
            self._tick = self._loop.call_at((self._loop.time() // TICK_S + 1) * TICK_S, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        if self.error is None:
            self.start(self._send_held())

    async def _send_held(self) -> None:
        held, self._held = self._held, None
        segment = self._current
        if held is None or segment is None:  # a final was sent meanwhile
            return
        revision = segment.partial(held, self._loop.time())
        if revision is not None:
            self.measures.partials += 1
            reply = await self._requests.send(segment.number, revision)
            reply.add_done_callback(partial(self._partial_ended, segment, revision))

    def _partial_ended(self, segment: Segment, revision: Revision, reply: Reply) -> None:
        if reply.cancelled() or (reply.exception() is not None and self.error is not None):
            return
        try:
            segment.answer(revision.number, output_of_reply(reply).text, self._loop.time())
        except InferstreamError as error:
            segment.pass_over(revision.number)
            self.measures.superseded += isinstance(error, Superseded)
            self.measures.passed_over += not isinstance(error, Superseded)
            if isinstance(error, OF_THE_STREAM):
                self.end_by(error)
        self._tell()
        self._plan()

    async def _finish(self, segment: Segment, revision: Revision, reply: Reply) -> None:
        """Send the final until it is answered."""
        again = partial(self._requests.send, segment.number, revision)
        try:
            output = await answered(reply, again, self._requests.timeout_s)
            segment.finish(output.text, self._loop.time())
        except OF_THE_STREAM as error:
            self.end_by(error)
            return
        except InferstreamError as error:
            segment.fail(error)
        self._finals -= 1
        self._done(segment, revision.text)

    def _done(self, segment: Segment, text: str) -> None:
        assert segment.caption is not None
        self.segments.done(segment.caption)
        self.measures.end(segment.trace, text, failed=segment.caption.error is not None)
        self._room.set()
        self._tell()

    def _tell(self) -> None:
        """What is shown may have changed: wake the reader; and come back when something was held back for too long."""
        self.changed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        release_at = self.segments.release_at
        if release_at is not None and self.error is None:
            self._timer = self._loop.call_at(release_at, self._release)

    def _release(self) -> None:
        self.segments.release(self._loop.time())
        self._tell()

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end_by(error)
