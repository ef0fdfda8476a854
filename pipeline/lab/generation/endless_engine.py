"""The engine of that worker without a broker, as a process: `python -m … CONFIG`, CONFIG as JSON.

A connection is a request: a line `{"text": "...", "count": N}`; the lines of the answer have the times at which tokens
came to the event loop, in seconds of the monotonic clock.
"""

import asyncio
import signal
import sys
import time
from asyncio import StreamReader, StreamWriter

import msgspec

from ....schemas.generation import GenerateRequest
from ...config import Config
from ...engine.engine import Engine
from ...engine.flight import Flight
from ...engine.job import Job
from ...serving.loading import ModelLoader
from ...serving.tuning import tune_process
from ...tasks.generate.definition import GENERATE
from ...telemetry import WorkerMetrics
from .endless import EndlessGenerate

HOST = "127.0.0.1"


class EngineAsked(msgspec.Struct, frozen=True):
    """A line that asks."""

    text: str
    count: int


def command(config: Config) -> list[str]:
    """The command line that starts this process."""
    return [sys.executable, "-m", __spec__.name, msgspec.json.encode(config).decode()]


async def answer(engine: Engine, reader: StreamReader, writer: StreamWriter) -> None:
    """Answer one request."""
    asked = msgspec.json.decode(await reader.readline(), type=EngineAsked)
    told = 0

    def tell(count: int) -> None:
        nonlocal told
        if count > told:
            writer.write(msgspec.json.encode([time.perf_counter()] * (count - told)) + b"\n")
            told = count

    def follow(flight: Flight) -> None:
        flight.watchers.append(lambda: tell(len(flight.pieces)))

    request = GenerateRequest(text=asked.text, options={"max_tokens": asked.count}, stream=True)
    await engine.answer(Job(GENERATE, request), follow)
    tell(asked.count)
    writer.close()


async def serve(config: Config) -> None:
    """Answer until SIGTERM."""
    entries = ModelLoader(config, WorkerMetrics()).entries(EndlessGenerate())
    engine = Engine({GENERATE: entries}, memory=None, disk=None, clock=time.monotonic)
    tune_process()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        await answer(engine, reader, writer)

    async with engine, await asyncio.start_server(connected, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"READY {port}", flush=True)  # noqa: T201
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
