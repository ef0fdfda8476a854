"""Captions while people speak, over a real worker: how late finals are, what the device does, and overload."""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...config import CacheConfig, Config, KafkaConfig
from ...tasks.translate.definition import TRANSLATE
from ..bench.bench import Bench, Command, Progress
from ..worker_process import WorkerProcess, serve_task
from . import sleeping_worker, speakers
from .sleeping_worker import FULL_PER_S
from .speakers_report import PARTS, PLAIN, SpeakersMode, SpeakersPlan, SpeakersReport, together

MODES: Final[tuple[SpeakersMode, ...]] = ("stable", PLAIN, "live", "final")
TURNS: Final[tuple[SpeakersMode, ...]] = (*MODES, PLAIN, "stable")
"""Those that are compared have two turns, in the other order the second time: machines get slower and faster."""

OVERLOAD: Final = 3.0
STREAMS_A_PROCESS: Final = 100
START_S: Final = 2.5
"""From the start of the processes of the speakers until all of them speak."""

LOOK_S: Final = 0.1
REAL: Final = "worker"
SLEEPING: Final = "worker-with-a-device-that-sleeps"


class LiveEffort(Struct, frozen=True):
    """How much is measured: ``segments`` of each speaker in a turn."""

    streams: int = 50
    segment_s: float = 3.0
    segments: int = 4
    overload_segments: int = 5


QUICK_LIVE: Final = LiveEffort(streams=4, segment_s=0.6, segments=2, overload_segments=1)


class LiveTurn(Struct, frozen=True):
    """One turn of speakers: what their readers saw, and what the worker did meanwhile."""

    mode: SpeakersMode
    streams: int
    seconds: float
    device_s: float
    cpu_s: float
    broker_s: float
    report: SpeakersReport


class LiveMeasurements(Struct, frozen=True):
    """All that the figures are computed from. ``kept_up``: how many streams the overloaded worker could just serve."""

    calm: dict[str, LiveTurn]
    kept_up: float
    overload: LiveTurn


def both(one: LiveTurn, other: LiveTurn) -> LiveTurn:
    """Two turns of one mode as one."""
    return LiveTurn(
        one.mode,
        one.streams,
        one.seconds + other.seconds,
        one.device_s + other.device_s,
        one.cpu_s + other.cpu_s,
        one.broker_s + other.broker_s,
        together([one.report, other.report]),
    )


def speeches(lines: Sequence[str], streams: int, segments: int, seed: int) -> list[list[str]]:
    """The segments of each stream: different lines, in another order for each."""
    generator = random.Random(seed)
    return [generator.sample(list(lines), min(segments, len(lines))) for _ in range(streams)]


class LiveSuite:
    """Measures one direction on one Kafka. ``model`` is the name of a published one, as `translate-en-pt`."""

    def __init__(
        self, bench: Bench, model: str, lines: Sequence[str], effort: LiveEffort, progress: Progress
    ) -> None:
        self._bench = bench
        self._model = f"{model}-int8"
        languages = model.split("-")[-2:]
        self._source = languages[0]
        self._target = languages[1]
        self._lines = lines
        self._effort = effort
        self._progress = progress
        self._kafka: dict[str, KafkaConfig] = {}
        self._systems: dict[str, Any] = {}
        self._turns = 0

    async def measure(self) -> LiveMeasurements:
        """Start the workers, warm them, then let people speak."""
        effort = self._effort
        self._progress.begin(3 + len(TURNS))
        self._progress.turn("starting the workers of live streams")
        commands = {REAL: self._worker(), SLEEPING: self._sleeping()}
        self._systems = await self._bench.start(commands, self._lines[0])
        self._progress.turn("warming up")
        await self._turn(REAL, "stable", effort.streams, 1)
        calm: dict[str, LiveTurn] = {}
        for mode in TURNS:
            self._progress.turn(f"{effort.streams} live streams, mode {mode}")
            turn = await self._turn(REAL, mode, effort.streams, effort.segments)
            calm[mode] = both(calm[mode], turn) if mode in calm else turn
        self._progress.turn("overload")
        kept_up = FULL_PER_S * effort.segment_s / PARTS
        overload = await self._turn(SLEEPING, "stable", round(OVERLOAD * kept_up), effort.overload_segments)
        return LiveMeasurements(calm, kept_up, overload)

    def _worker(self) -> Command:
        def command(kafka: KafkaConfig) -> list[str]:
            self._kafka[REAL] = kafka
            own = ["--kafka", kafka.bootstrap, "--topic-prefix", kafka.topic_prefix]
            return [sys.executable, *serve_task(TRANSLATE, *own, "--model", self._model, "--no-cache")]

        return command

    def _sleeping(self) -> Command:
        def command(kafka: KafkaConfig) -> list[str]:
            self._kafka[SLEEPING] = kafka
            return sleeping_worker.command(self._model, Config(kafka=kafka, cache=CacheConfig(enabled=False)))

        return command

    async def _turn(self, name: str, mode: SpeakersMode, streams: int, segments: int) -> LiveTurn:
        self._turns += 1
        texts = speeches(self._lines, streams, segments, self._turns)
        system = self._systems[name]
        before, cpu = self._device_s(name), system.cpu()
        report = await self._speak(system, self._plans(name, mode, texts))
        used = system.cpu().since(cpu)
        seconds = (segments + 1) * self._effort.segment_s
        device_s = self._device_s(name) - before
        return LiveTurn(mode, streams, seconds, device_s, used.measured_s, used.broker_s, report)

    def _plans(self, name: str, mode: SpeakersMode, texts: list[list[str]]) -> list[SpeakersPlan]:
        parts = -(-len(texts) // STREAMS_A_PROCESS)
        begin = time.time() + START_S
        kafka, segment_s = self._kafka[name], self._effort.segment_s
        return [
            SpeakersPlan(kafka, mode, self._source, self._target, texts[part::parts], segment_s, begin)
            for part in range(parts)
        ]

    async def _speak(self, system: Any, plans: Sequence[SpeakersPlan]) -> SpeakersReport:
        folder = self._bench.folder
        reports = [folder / f"speakers-{self._turns}-{number}.report" for number in range(len(plans))]
        with ExitStack() as stack:
            processes = [
                stack.enter_context(self._start(plan, report))
                for plan, report in zip(plans, reports, strict=True)
            ]
            while any(process.running for process in processes):
                system.process.check()
                await asyncio.sleep(LOOK_S)
            for process in processes:
                process.check()
        return together([msgspec.json.decode(report.read_bytes(), type=SpeakersReport) for report in reports])

    def _start(self, plan: SpeakersPlan, report: Path) -> WorkerProcess:
        path = report.with_suffix(".plan")
        path.write_bytes(msgspec.json.encode(plan))
        program, *arguments = speakers.command(path, report)
        return WorkerProcess(arguments, program=program, log=report.with_suffix(".log"), own_session=True)

    def _device_s(self, name: str) -> float:
        """Seconds that the device of the worker has run."""
        (process,) = self._systems[name].process.processes
        lines = (process.page("/metrics") or "").splitlines()
        return sum(
            float(line.split()[1]) for line in lines if line.startswith("inferstream_batch_seconds_sum")
        )
