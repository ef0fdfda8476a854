"""Serves in a worker process of a chaos run."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from tokenizers import Tokenizer

from ...broker.base import Broker, TopicPartition
from ...broker.kafka.broker import KafkaBroker
from ...home import home_folder
from ...models.registry import ModelRegistry
from ...runtime.graph import Graph
from ...runtime.sessions import Session
from ...serving.build import build_worker
from ...serving.hosting import Hosted, run_alone
from ...serving.serving import Serving
from ...serving.tuning import tune_process
from ...tasks.triage.settings import TriageSettings
from ...telemetry import configure_logging
from ..steps import Steps
from ..steps_serving import steps_serving
from .faulty_session import DeviceCounts, FaultState, FaultySession
from .faulty_steps import FaultySteps
from .settings import WorkerSettings, WorkerStatus, write

if TYPE_CHECKING:
    from .stepped_clock import SteppedClock

POLL_S: Final = 0.05
TRIAGE: Final = "triage"
GENERATE: Final = "generate"
NO_PARTITIONS: Final[frozenset[TopicPartition]] = frozenset()


class FaultControl:
    """Connects the worker to the run: reads its faults, writes its status."""

    def __init__(self, settings: WorkerSettings, clock: "SteppedClock") -> None:
        self._settings = settings
        self._clock = clock
        self._faults_path = Path(settings.faults)
        self._changed_ns = 0
        self._faults = FaultState()
        self._counts = DeviceCounts()
        self._assigned = NO_PARTITIONS
        self._rebalances = 0
        self._stopped = threading.Event()

    def graph_of(self, session: Session) -> Graph:
        """The session that the lanes use in place of ``session``; a decoder has none."""
        if self._settings.task == GENERATE:
            return session
        decode = None
        if self._settings.task == TRIAGE:
            decode = decoder(self._settings.config.of_task(TRIAGE, TriageSettings).model)
        faulty = FaultySession(session, decode, lambda: self._faults, self._clock.real)
        self._counts = faulty.counts
        return faulty

    def steps_model(self) -> FaultySteps:
        """The model of `steps`."""
        faulty = FaultySteps(self._settings.step_s, lambda: self._faults, self._clock.real)
        self._counts = faulty.counts
        return faulty

    def build(self, broker: Broker) -> Serving:
        """The worker of the task."""
        config, task = self._settings.config, self._settings.task
        if task == Steps.name:
            notes = home_folder() / "crashes" / task
            return steps_serving(config, broker, self.steps_model(), notes=notes)
        return build_worker(config, broker, {task: []}, graph_of=self.graph_of)

    def follow(self, serving: Serving) -> None:
        """Read the faults and write the status until `stop`."""
        while not self._stopped.wait(POLL_S):
            self._read_faults()
            write(Path(self._settings.status), self._status(serving))

    def stop(self) -> None:
        self._stopped.set()

    def _read_faults(self) -> None:
        try:
            changed_ns = self._faults_path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            self._faults = msgspec.json.decode(self._faults_path.read_bytes(), type=FaultState)
            self._clock.off_s = self._faults.clock_off_s

    def _status(self, serving: Serving) -> WorkerStatus:
        consumer = serving.worker.consumer
        assigned = consumer.assignment() if consumer else NO_PARTITIONS
        if assigned and assigned is not self._assigned:  # each rebalance makes a new set
            self._assigned = assigned
            self._rebalances += 1
        status = WorkerStatus(
            pid=os.getpid(),
            ready=serving.ready,
            partitions=sorted(at.partition for at in assigned),
            rebalances=self._rebalances,
        )
        status.rows = self._counts.rows
        status.late_rows = self._counts.late_rows
        status.latest_s = self._counts.latest_s
        return status


def decoder(model: str) -> Callable[[Sequence[Sequence[int]]], Sequence[str]]:
    """A function from rows of the model's token ids to texts."""
    tokenizer = Tokenizer.from_file(str(ModelRegistry().load(model).tokenizer_path))
    return lambda rows: tokenizer.decode_batch([list(row) for row in rows])


def serve(settings: WorkerSettings, clock: "SteppedClock") -> None:
    """Serve until a signal drains the worker. Raises the error that ended it otherwise."""
    configure_logging("info")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    config = settings.config
    control = FaultControl(settings, clock)
    broker = KafkaBroker(config.kafka)
    serving = control.build(broker)
    tune_process()
    following = threading.Thread(target=control.follow, args=(serving,), daemon=True)
    following.start()
    run_alone(Hosted(broker, serving, config.window.drain_timeout_ms))
    control.stop()
    following.join()
