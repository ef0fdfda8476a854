"""Speed, arrivals and what Kafka costs: all systems are started and warmed, then the rounds run."""

from contextlib import AsyncExitStack

from msgspec import Struct

from ...config import KafkaConfig
from ...models.registry import ModelRegistry
from ..bench.bench import Bench, Progress
from ..bench.processes import ProcessGroup, SystemProcess, end_all
from . import endless_engine, endless_worker
from .bench_prompt import BenchPrompts
from .bench_workers import BenchWorkers, config_for
from .generating_system import GeneratingSystem
from .generation_rounds import (
    ENGINE,
    OURS,
    PARTS,
    GenerationEffort,
    GenerationRound,
    GenerationRounds,
    RoundPrompts,
)
from .listening import ListeningProcess, StampingSystem
from .measured_core import MeasuredCore
from .peers import Peers, PeersPlan, weights_of


class GenerationMeasurements(Struct, frozen=True):
    """All that the figures are computed from. ``memory_mb``: the resident memory of the worker after each round."""

    rounds: list[GenerationRound]
    memory_mb: list[float]


class GenerationSuite:
    """Measures one model on one Kafka. ``peers``: the Python of their environment, if there is one."""

    def __init__(
        self, bench: Bench, model: str, peers: str | None, effort: GenerationEffort, progress: Progress
    ) -> None:
        self._bench = bench
        self._manifest = ModelRegistry().load(model)
        self._peers = PeersPlan(peers, weights_of(self._manifest), effort.streams) if peers else None
        self._effort = effort
        self._progress = progress
        self._core = MeasuredCore()

    async def measure(self) -> GenerationMeasurements:
        """Raises InferstreamError when a system ends, or gives another number of tokens than it was asked for."""
        self._progress.begin(2 + self._effort.rounds * PARTS)
        self._progress.turn("starting the systems")
        async with AsyncExitStack() as stack:
            stack.callback(self._core.stay())
            started: list[SystemProcess] = []
            stack.callback(end_all, started)
            with self._core.starting():
                ours = (await BenchWorkers(self._bench, stack).start({OURS: self._command}))[OURS]
            ours.pause()
            systems: dict[str, GeneratingSystem] = {OURS: ours}
            systems |= await self._others(started)
            return await self._rounds(systems, ours.process)

    async def _rounds(
        self, systems: dict[str, GeneratingSystem], worker: ProcessGroup
    ) -> GenerationMeasurements:
        rounds = GenerationRounds(systems, self._prompts(), self._effort, self._progress)
        self._progress.turn("warming up")
        await rounds.warm_up()
        found: list[GenerationRound] = []
        memory_mb: list[float] = []
        for number in range(self._effort.rounds):
            found.append(await rounds.run(number))
            memory_mb.append(worker.resident_mb())
        return GenerationMeasurements(found, memory_mb)

    def _command(self, kafka: KafkaConfig) -> list[str]:
        return endless_worker.command(config_for(self._manifest, kafka, self._effort.streams))

    async def _others(self, started: list[SystemProcess]) -> dict[str, GeneratingSystem]:
        config = config_for(self._manifest, KafkaConfig(), self._effort.streams)
        with self._core.starting():
            engine = ListeningProcess(endless_engine.command(config), self._bench.folder / "engine.log")
        started.append(engine.process)
        found: dict[str, GeneratingSystem] = {ENGINE: StampingSystem(engine.process, await engine.ready())}
        engine.process.pause()
        if self._peers is None:
            return found
        peers = Peers(self._peers, self._bench.folder, self._core, started)
        return found | await peers.start()

    def _prompts(self) -> RoundPrompts:
        prompts, effort = BenchPrompts(self._manifest), self._effort
        return RoundPrompts(
            prompts.questions(effort.streams),
            prompts.of_length(effort.late, 1),
            prompts.of_length(effort.long, 2),
        )
