"""Client processes that are killed while they read streams with a lease."""

import asyncio
import signal
from pathlib import Path
from typing import Final

import msgspec

from ...config import Config
from ..worker_process import WorkerProcess
from .leaving import READS
from .leaving_client import LeavingStreams
from .stream_log import ID_PREFIX, StreamLog, text_of

MODULE: Final = "inferstream.pipeline.lab.chaos.leaving_client"
STREAMS: Final = 3
STEPS: Final = 12_000
"""A minute of steps: they do not end before the client is killed, wherever workers are killed meanwhile."""

BEGIN_S: Final = 180.0


class ClientFaults:
    """Kills clients. Their output is in ``folder``."""

    def __init__(self, task: str, config: Config, folder: Path, log: StreamLog) -> None:
        self._task = task
        self._config = config
        self._folder = folder
        self._log = log
        self._clients = 0

    async def kill_client(self, seconds: float) -> str:
        """Start a client, and kill it ``seconds`` after all of its streams have begun. Returns its name.

        Raises BrokerError or InferstreamError if they do not begin.
        """
        name = f"client-{self._clients}"
        self._clients += 1
        texts = {
            identity: text_of(identity, STEPS)
            for identity in (f"{ID_PREFIX}{name}-{number}" for number in range(STREAMS))
        }
        for identity, text in texts.items():
            self._log.asked(identity, text)
        streams = LeavingStreams(self._config.kafka, self._task, texts)
        # Not as an argument: one may have 128 kB.
        path = self._folder / f"{name}.json"
        path.write_bytes(msgspec.json.encode(streams))
        with WorkerProcess(
            ["-m", MODULE, str(path)], log=self._folder / f"{name}.log", own_session=True
        ) as client:
            await asyncio.to_thread(client.wait_for, READS, BEGIN_S)
            await asyncio.sleep(seconds)
            client.signal(signal.SIGKILL)
        for identity in texts:
            self._log.left(identity, "killed")
        return name
