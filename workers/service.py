"""The worker as a service of a Faust app."""

import asyncio

import faust
from mode import Service

from ..pipeline.serving.hosting import Hosted


class Delivery(Service):
    """Runs the worker from the app's start on. The host of the app awaits `ended` and calls `check`.

    The service itself raises no error: Faust would log it as a defect, with all frames, and go on running.
    """

    mundane_level = "debug"

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        super().__init__()

    async def on_start(self) -> None:
        self._running = asyncio.create_task(self.hosted.run(), name="worker")

    async def on_stop(self) -> None:
        self._running.cancel()
        await asyncio.wait({self._running})

    @property
    def alive(self) -> bool:
        """Whether the worker runs, ready or not."""
        return self.started and not self._running.done()

    async def ended(self, app: faust.App) -> None:
        """Wait until the worker has returned or failed, or the app has crashed."""
        crashed = asyncio.create_task(app.wait_until_stopped())
        await asyncio.wait({self._running, crashed}, return_when=asyncio.FIRST_COMPLETED)
        crashed.cancel()

    def check(self) -> None:
        """Raise the error that ended the worker, if there was one."""
        if not self._running.cancelled():
            self._running.result()
