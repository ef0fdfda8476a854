"""Systems in processes that listen on this machine: engines without a broker, and the native server of llama.cpp."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ...errors import InferstreamError
from ..bench.processes import SystemProcess
from .bench_prompt import BenchPrompt
from .spread import spread

HOST: Final = "127.0.0.1"
READY: Final = "READY"
READY_S: Final = 120.0
LOOK_S: Final = 0.05


class ListeningProcess:
    """A process that prints READY, and the port if it has chosen it."""

    def __init__(self, command: Sequence[str], log: Path, port: int | None = None) -> None:
        self.process = SystemProcess(command, log)
        self._log = log
        self._port = port

    async def ready(self) -> int:
        """Its port. Raises InferstreamError when it ends before, or is not ready in time."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            lines = self._log.read_text("utf-8", "replace").splitlines()
            for line in lines:
                if line.startswith(READY):
                    return self._port or int(line.split()[1])
            self.process.check()
            await asyncio.sleep(LOOK_S)
        raise InferstreamError(f"{self._log.stem} was not ready in {READY_S:g} s.")


class Listening(ABC):
    """See `GeneratingSystem`. A connection is a request."""

    def __init__(self, process: SystemProcess, port: int) -> None:
        self.process = process
        self._port = port

    def pause(self) -> None:
        """See `SystemProcess.pause`."""
        self.process.pause()

    def resume(self) -> None:
        """See `SystemProcess.resume`."""
        self.process.resume()

    async def stream(self, prompt: BenchPrompt, count: int, times: list[float]) -> None:
        """Send the request, and read its lines until all tokens have come, or none comes any more."""
        reader, writer = await asyncio.open_connection(HOST, self._port, limit=1 << 20)
        try:
            writer.write(self._request(prompt, count))
            while len(times) < count and (line := await reader.readline()):
                self._read(line, times)
        finally:
            writer.close()
            await writer.wait_closed()

    @abstractmethod
    def _request(self, prompt: BenchPrompt, count: int) -> bytes: ...

    @abstractmethod
    def _read(self, line: bytes, times: list[float]) -> None: ...


class StampingSystem(Listening):
    """Takes a line of JSON, and answers with lines of times: `endless_engine` and `peers/openvino_server`."""

    def _request(self, prompt: BenchPrompt, count: int) -> bytes:
        asked = {"text": prompt.text, "tokens": prompt.tokens, "count": count}
        return msgspec.json.encode(asked) + b"\n"

    def _read(self, line: bytes, times: list[float]) -> None:
        times += msgspec.json.decode(line, type=list[float])


class LlamaCppSystem(Listening):
    """Over HTTP, greedy; it keeps nothing of earlier prompts."""

    def _request(self, prompt: BenchPrompt, count: int) -> bytes:
        asked = {
            "prompt": prompt.tokens,
            "n_predict": count,
            "stream": True,
            "temperature": 0,
            "samplers": ["top_k"],
            "top_k": 1,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        body = json.dumps(asked).encode()
        head = f"POST /completion HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _read(self, line: bytes, times: list[float]) -> None:
        if line.startswith(b"data: "):
            told: dict[str, Any] = json.loads(line[6:])
            made = int(told.get("tokens_predicted", 0))
            spread(times, time.perf_counter(), made - len(times))
