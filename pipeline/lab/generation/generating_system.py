"""What generates texts: a worker behind a broker, its engine alone, or a peer."""

from typing import Protocol

from ...errors import InferstreamError
from .bench_prompt import BenchPrompt


class GeneratingSystem(Protocol):
    """One of those that take turns. Between its turns it is paused."""

    async def stream(self, prompt: BenchPrompt, count: int, times: list[float]) -> None:
        """Generate ``count`` tokens; ``times`` gets the monotonic time of each as it comes."""
        ...

    def pause(self) -> None:
        """Let it use no CPU time."""
        ...

    def resume(self) -> None:
        """Continue after `pause`."""
        ...


async def streamed(system: GeneratingSystem, prompt: BenchPrompt, count: int) -> list[float]:
    """The monotonic time of each token. Raises InferstreamError for another number of them."""
    times: list[float] = []
    await system.stream(prompt, count, times)
    if len(times) != count:
        raise InferstreamError(f"{len(times)} tokens came of {count} that were asked for.")
    return times
