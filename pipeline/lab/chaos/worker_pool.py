"""The worker processes of a chaos run. Those that end are started again."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct, field

from ...config import Config
from ...errors import BrokerError
from ...home import home_folder
from ..worker_process import WorkerProcess
from .faulty_session import FaultState
from .scenario import Scenario
from .settings import WorkerSettings, WorkerStatus, read_status, write

POLL_S: Final = 0.05
MEMORY_EVERY_S: Final = 1.0
END_S: Final = 25.0
READY_S: Final = 60.0
FIRST_READY_S: Final = 90.0
MODULE: Final = "inferstream.pipeline.lab.chaos.worker"


class WorkerExit(Struct):
    """A worker process that ended; ``wanted`` when this run had ended it."""

    at_s: float
    member: int
    status: int
    wanted: bool


class PoolWorker(Struct):
    """A worker by number, with its current process.

    ``ending``: this run has ended the process. ``leaving``: it is not started again.
    """

    number: int
    folder: Path
    process: WorkerProcess
    ending: bool = False
    leaving: bool = False
    suspended: bool = False
    faults: FaultState = field(default_factory=FaultState)
    last_statuses: list[WorkerStatus] = field(default_factory=list)

    @property
    def status(self) -> WorkerStatus:
        """The last status of the current process; an empty one before the first."""
        status = read_status(self.folder / "status")
        return status if status.pid == self.process.pid else WorkerStatus()

    @property
    def active(self) -> bool:
        """Whether it runs and is not about to end."""
        return self.process.running and not self.ending

    def apply_faults(self) -> None:
        """Send ``faults`` to the process."""
        write(self.folder / "faults", self.faults)


class WorkerPool:
    """Workers by number, with their own INFERSTREAM_HOME. Call `stop` in any case."""

    def __init__(self, folder: Path, config: Config, scenario: Scenario, now_s: Callable[[], float]) -> None:
        self._folder = folder
        self._config = config
        self._scenario = scenario
        self._now_s = now_s
        self.home = make_home(folder / "home")
        self.workers: dict[int, PoolWorker] = {}
        self.exits: list[WorkerExit] = []
        self.memory_mb: list[tuple[float, int, int, float]] = []
        """Seconds since the start, worker number, process id, resident MB."""
        self.peak_mb = 0.0
        """The largest resident memory of any process at any moment, also between measurements."""
        self.ready_s: list[float] = []
        """Seconds from the start of a process until it reads requests.

        Only after a SIGTERM: after a kill, the group first waits for the session timeout.
        """

    def start(self) -> PoolWorker:
        """Start one more worker."""
        number = len(self.workers)
        folder = self._folder / f"worker-{number}"
        folder.mkdir(parents=True)
        worker = PoolWorker(number, folder, self._launch(folder))
        self.workers[number] = worker
        return worker

    def active(self) -> list[PoolWorker]:
        return [worker for worker in self.workers.values() if worker.active]

    async def start_ready(self, count: int) -> None:
        """Start this many workers side by side. Returns when all read requests, raises as `wait_ready` does."""
        workers = [self.start() for _ in range(count)]
        await asyncio.gather(*(self.wait_ready(worker, FIRST_READY_S) for worker in workers))

    async def wait_ready(self, worker: PoolWorker, timeout_s: float) -> None:
        """Wait until it reads requests. Raises BrokerError when it ends, or after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while not worker.status.ready:
            if not worker.process.running or time.monotonic() > end:
                raise BrokerError(f"A worker is not ready after {timeout_s:g} s: see {worker.process.log}.")
            await asyncio.sleep(POLL_S)

    async def supervise(self) -> None:
        """Start ended workers again and record memory, until cancelled."""
        measured = 0.0
        noted: set[int] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                for worker in list(self.workers.values()):
                    if not worker.process.running and worker.process.pid not in noted:
                        noted.add(worker.process.pid)
                        self._note_end(worker)
                        if not worker.leaving:
                            tasks.create_task(self._start_again(worker))
                if time.monotonic() - measured > MEMORY_EVERY_S:
                    measured = time.monotonic()
                    self._measure_memory()
                await asyncio.sleep(POLL_S)

    async def leave(self, worker: PoolWorker) -> None:
        """Shut the worker down for good; kill it when that takes too long."""
        worker.leaving = worker.ending = True
        worker.process.signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(worker.process.wait, END_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()

    def stop(self) -> None:
        """Shut all workers down; kill those that take too long. May be called twice."""
        for worker in self.workers.values():
            worker.leaving = worker.ending = True
            worker.process.signal(signal.SIGCONT)
            worker.process.signal(signal.SIGTERM)
        end = time.monotonic() + END_S
        for worker in self.workers.values():
            try:
                worker.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def statuses(self) -> list[WorkerStatus]:
        """The last status of each process that ever ran."""
        return [
            status for worker in self.workers.values() for status in (*worker.last_statuses, worker.status)
        ]

    def _launch(self, folder: Path) -> WorkerProcess:
        of = self._scenario
        paths = str(folder / "faults"), str(folder / "status")
        settings = WorkerSettings(of.task, of.step_s, self._config, *paths)
        (folder / "settings.json").write_bytes(msgspec.json.encode(settings))
        arguments = ["-m", MODULE, str(folder / "settings.json")]
        return WorkerProcess(arguments, log=folder / "log", home=self.home, own_session=True)

    async def _start_again(self, worker: PoolWorker) -> None:
        await asyncio.sleep(self._scenario.restart_after_s)
        if worker.leaving:
            return
        after_sigterm = worker.process.wait(0) == 0
        worker.ending = worker.suspended = False
        began = time.monotonic()
        worker.process = self._launch(worker.folder)
        if after_sigterm:
            with suppress(BrokerError):  # the next fault may end it before it is ready
                await self.wait_ready(worker, READY_S)
                self.ready_s.append(time.monotonic() - began)

    def _note_end(self, worker: PoolWorker) -> None:
        status = worker.process.wait(0)
        self.exits.append(WorkerExit(self._now_s(), worker.number, status, worker.ending))
        worker.last_statuses.append(worker.status)

    def _measure_memory(self) -> None:
        for worker in self.active():
            try:
                resident_mb = psutil.Process(worker.process.pid).memory_info().rss / 1e6
                self.peak_mb = max(self.peak_mb, resident_mb, peak_mb(worker.process.pid))
            except (psutil.NoSuchProcess, OSError):
                continue
            self.memory_mb.append((self._now_s(), worker.number, worker.process.pid, resident_mb))


def peak_mb(pid: int) -> float:
    """The largest resident memory of a process so far; 0 on systems other than Linux."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def make_home(folder: Path) -> Path:
    """An INFERSTREAM_HOME with a link to the user's models and a copy of the measured costs."""
    folder.mkdir(parents=True)
    (folder / "models").symlink_to(home_folder() / "models", target_is_directory=True)
    if (costs := home_folder() / "costs").is_dir():
        shutil.copytree(costs, folder / "costs")
    return folder
