"""The worker processes of a chaos run, and the supervisor that starts those again which ended."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
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
from .device import Mood
from .settings import Settings, Status, read_status, write

LOOK_S: Final = 0.05
END_S: Final = 25.0
READY_S: Final = 60.0
MODULE: Final = "inferstream.pipeline.lab.chaos.worker"


class Exit(Struct):
    """A worker process that ended. ``wanted`` where this run had killed it or told it to end."""

    at_s: float
    member: int
    status: int
    wanted: bool


class Member(Struct):
    """One place in the crew, and the process that has it now. ``leaving`` is not started again."""

    number: int
    folder: Path
    process: subprocess.Popen[bytes]
    condemned: bool = False
    leaving: bool = False
    suspended: bool = False
    mood: Mood = field(default_factory=Mood)
    ended: list[Status] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """What the process last said of itself."""
        status = read_status(self.folder / "status")
        return status if status.pid == self.process.pid else Status()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def set_mood(self) -> None:
        """Let the process know its mood."""
        write(self.folder / "mood", self.mood)

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            self.process.send_signal(number)


class Crew:
    """Workers by number, on one model and with a home of their own. Use `stop` whatever happens."""

    def __init__(
        self, folder: Path, config: Config, model: str, restart_after_s: float, now_s: Callable[[], float]
    ) -> None:
        self._folder, self._config, self._model = folder, config, model
        self._restart_after_s, self._now_s = restart_after_s, now_s
        self.home = make_home(folder / "home")
        self.members: dict[int, Member] = {}
        self.exits: list[Exit] = []
        self.memory_mb: list[tuple[float, int, int, float]] = []
        """Seconds since the start, member, process, resident MB."""
        self.ready_s: list[float] = []
        """From the start of a process until it read requests, where the one in its place before had ended in order: of
        one that was killed the group waits for the session timeout first.
        """

    def start(self) -> Member:
        """One more worker."""
        number = len(self.members)
        folder = self._folder / f"worker-{number}"
        folder.mkdir(parents=True)
        member = Member(number, folder, self._launch(folder))
        self.members[number] = member
        return member

    def active(self) -> list[Member]:
        """Members that run and are not on their way out."""
        return [one for one in self.members.values() if one.running and not one.leaving and not one.condemned]

    async def ready(self, member: Member, timeout_s: float) -> None:
        """Wait until the worker reads requests. Raises BrokerError when it ends or takes longer."""
        end = time.monotonic() + timeout_s
        while not member.status.ready:
            if not member.running or time.monotonic() > end:
                raise BrokerError(
                    f"A worker is not ready after {timeout_s:g} s: see {member.folder / 'log'}."
                )
            await asyncio.sleep(LOOK_S)

    async def supervise(self) -> None:
        """Return never; start again what has ended, unless it was to leave, and note how much memory each has."""
        looked = 0.0
        async with asyncio.TaskGroup() as tasks:
            seen: set[int] = set()
            while True:
                for member in list(self.members.values()):
                    if not member.running and member.process.pid not in seen:
                        seen.add(member.process.pid)
                        self._note_end(member)
                        if not member.leaving:
                            tasks.create_task(self._start_again(member))
                if time.monotonic() - looked > 1:
                    looked = time.monotonic()
                    self._weigh()
                await asyncio.sleep(LOOK_S)

    async def leave(self, member: Member) -> None:
        """Have the worker finish and not come back; by force when it takes too long."""
        member.leaving = member.condemned = True
        member.signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(member.process.wait, END_S)
        except subprocess.TimeoutExpired:
            member.process.kill()

    def stop(self) -> None:
        """End all, by force those that do not end in time. May be called twice."""
        for member in self.members.values():
            member.leaving = member.condemned = True
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGTERM)
        end = time.monotonic() + END_S
        for member in self.members.values():
            try:
                member.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
            if member.process.stdin:
                member.process.stdin.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def statuses(self) -> list[Status]:
        """The last words of all processes that ever ran."""
        return [status for one in self.members.values() for status in (*one.ended, one.status)]

    def _launch(self, folder: Path) -> subprocess.Popen[bytes]:
        settings = Settings(self._config, self._model, str(folder / "mood"), str(folder / "status"))
        (folder / "settings.json").write_bytes(msgspec.json.encode(settings))
        with (folder / "log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", MODULE, str(folder / "settings.json")],
                stdin=subprocess.PIPE,  # its end, which comes with ours, ends the worker
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"INFERSTREAM_HOME": str(self.home)},
                start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop it in order
            )

    async def _start_again(self, member: Member) -> None:
        await asyncio.sleep(self._restart_after_s)
        if not member.leaving:
            member.condemned = member.suspended = False
            in_order, began = member.process.returncode == 0, time.monotonic()
            member.process = self._launch(member.folder)
            if in_order:
                with suppress(BrokerError):  # it may be the next victim before it is ready
                    await self.ready(member, READY_S)
                    self.ready_s.append(time.monotonic() - began)

    def _note_end(self, member: Member) -> None:
        self.exits.append(Exit(self._now_s(), member.number, member.process.returncode, member.condemned))
        member.ended.append(member.status)
        if member.process.stdin:
            member.process.stdin.close()

    def _weigh(self) -> None:
        for member in self.active():
            try:
                resident_mb = psutil.Process(member.process.pid).memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
            self.memory_mb.append((self._now_s(), member.number, member.process.pid, resident_mb))


def make_home(folder: Path) -> Path:
    """A home for the workers: the user's models by a link, and caches and crash notes that are only this run's."""
    folder.mkdir(parents=True)
    (folder / "models").symlink_to(home_folder() / "models", target_is_directory=True)
    if (costs := home_folder() / "costs").is_dir():
        shutil.copytree(costs, folder / "costs")
    return folder
