"""The worker behind Kafka, as a client of it sees it."""

import time

from ...client.client import Client
from ..bench.processes import ProcessGroup
from .bench_prompt import BenchPrompt
from .spread import spread

TIMEOUT_S = 120.0


class OverKafka:
    """A worker; see `GeneratingSystem`."""

    def __init__(self, process: ProcessGroup, client: Client) -> None:
        """``client``: connected to the topics of the worker."""
        self.process = process
        self._client = client

    async def stream(self, prompt: BenchPrompt, count: int, times: list[float]) -> None:
        """Ask for a stream, and read it token by token. Raises InferstreamError."""
        options = {"max_tokens": count}
        without_text = 0
        async for token in self._client.generate(prompt.text, options=options, timeout_s=TIMEOUT_S):
            without_text += 1
            if token.text:
                spread(times, time.perf_counter(), without_text)
                without_text = 0
        spread(times, time.perf_counter(), without_text)

    async def tokens(self, prompt: BenchPrompt, count: int) -> list[int]:
        """The tokens of one stream. Raises InferstreamError."""
        stream = self._client.generate(prompt.text, options={"max_tokens": count}, timeout_s=TIMEOUT_S)
        return [token.token async for token in stream]

    def pause(self) -> None:
        """See `SystemProcess.pause`."""
        self.process.pause()

    def resume(self) -> None:
        """See `SystemProcess.resume`."""
        self.process.resume()
