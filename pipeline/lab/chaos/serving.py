"""Serves in a chaos run's worker process."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from tokenizers import Tokenizer

from ...broker.base import TopicPartition
from ...broker.kafka.broker import KafkaBroker
from ...models.registry import ModelRegistry
from ...runtime.sessions import Session
from ...serving.build import build_worker
from ...serving.serving import Serving
from ...serving.shutdown import run_until_signaled
from ...serving.tuning import tune_process
from ...serving.watchdog import Watchdog
from ...telemetry import configure_logging
from .device import Mood, RehearsedSession
from .settings import Settings, Status, write

if TYPE_CHECKING:
    from .stepped_clock import SteppedClock

CLOSING_S: Final = 5.0
LOOK_S: Final = 0.05
NOTHING: Final[frozenset[TopicPartition]] = frozenset()

log = logging.getLogger(__name__)


class Rehearsal:
    """What makes a worker misbehave, and what is known of it."""

    def __init__(self, settings: Settings, clock: "SteppedClock") -> None:
        self._settings, self._clock = settings, clock
        self._mood_path, self._changed_ns = Path(settings.mood), 0
        self.mood = Mood()
        self._session: RehearsedSession | None = None
        self._assigned, self._rebalances = NOTHING, 0
        self._stopped = threading.Event()

    def session_of(self, session: Session) -> RehearsedSession:
        """The session that the lanes get in place of the real one."""
        decode = decoder(self._settings.model)
        self._session = RehearsedSession(session, decode, lambda: self.mood, self._clock.real)
        return self._session

    def follow(self, serving: Serving) -> None:
        """Read the mood and write the status, until `stop`."""
        while not self._stopped.wait(LOOK_S):
            self._read_mood()
            write(Path(self._settings.status), self._status(serving))

    def stop(self) -> None:
        self._stopped.set()

    def _read_mood(self) -> None:
        try:
            changed_ns = self._mood_path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            self.mood = msgspec.json.decode(self._mood_path.read_bytes(), type=Mood)
            self._clock.off_s = self.mood.clock_off_s

    def _status(self, serving: Serving) -> Status:
        consumer, count = serving.worker.consumer, self._session.count if self._session else None
        assigned = consumer.assignment() if consumer else NOTHING
        if assigned and assigned is not self._assigned:  # each rebalance makes a set of its own
            self._assigned, self._rebalances = assigned, self._rebalances + 1
        return Status(
            pid=os.getpid(),
            ready=serving.ready,
            partitions=sorted(at.partition for at in assigned),
            rebalances=self._rebalances,
            rows=count.rows if count else 0,
            late_rows=count.late_rows if count else 0,
            latest_s=count.latest_s if count else 0.0,
        )


def decoder(model: str) -> Callable[[Sequence[Sequence[int]]], Sequence[str]]:
    """What turns token ids of that model back into texts."""
    fast = Tokenizer.from_file(str(ModelRegistry().load(model).tokenizer_path))
    return lambda rows: fast.decode_batch([list(row) for row in rows])


def serve(settings: Settings, clock: "SteppedClock") -> None:
    """Serve until a signal drains the worker. Raises what ended it otherwise."""
    configure_logging("info")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    rehearsal = Rehearsal(settings, clock)
    broker = KafkaBroker(settings.config.kafka)
    serving = build_worker(settings.config, broker, models=[settings.model], session_of=rehearsal.session_of)
    tune_process()
    following = threading.Thread(target=rehearsal.follow, args=(serving,), daemon=True)

    async def run() -> None:
        with Watchdog():
            async with broker:
                await serving.run()

    following.start()
    run_until_signaled(run, serving.drain, settings.config.window.drain_timeout_ms / 1e3 + CLOSING_S)
    rehearsal.stop()
    following.join()
