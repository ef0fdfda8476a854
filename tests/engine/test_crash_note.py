"""Who was on the device when a process died is found out, and only who is to blame is given up."""

import logging
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.echo import Echo

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.crash_note import MAX_ROWS, CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.flights import Flight
from inferstream.pipeline.errors import DeviceLost, DeviceUnavailable
from inferstream.pipeline.runtime.fake_session import FakeSession

A, B, C = (bytes([n]) * 16 for n in range(3))
DIE = """
import os, sys
from pathlib import Path
from inferstream.pipeline.engine.crash_note import CrashNote
note = CrashNote(Path(sys.argv[1]), 4)
for lane, keys in enumerate(sys.argv[2:]):
    note.running(lane, [bytes.fromhex(key) for key in keys.split(",")])
os.kill(os.getpid(), 9)
"""


def died(directory: Path, *batches: list[bytes]) -> None:
    """A process ended while these batches were on its lanes."""
    lanes = [",".join(key.hex() for key in batch) for batch in batches]
    ended = subprocess.run([sys.executable, "-c", DIE, str(directory), *lanes], timeout=30, check=False)
    assert ended.returncode == -9


def judged(directory: Path, *keys: bytes) -> str:
    """What a new process thinks of each: fine, suspect or poison."""
    note = CrashNote(directory, 2)
    found = "".join("P" if note.is_poison(key) else "s" if note.is_suspect(key) else "-" for key in keys)
    note.close()
    return found


def test_all_who_were_there_are_suspect(tmp_path: Path) -> None:
    died(tmp_path, [A, B], [C])
    assert judged(tmp_path, A, B, C, b"x" * 16) == "sss-"
    assert judged(tmp_path, A, B, C) == "sss", "also after another start"


def test_who_ended_two_processes_alone_is_poison(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    died(tmp_path, [A])
    assert judged(tmp_path, A, B) == "ss"
    died(tmp_path, [A])
    assert judged(tmp_path, A, B) == "Ps"


def test_a_suspect_on_the_device_with_others_is_to_blame_and_they_are_not(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    for _ in range(2):
        died(tmp_path, [A], [C])
    assert judged(tmp_path, A, B, C) == "Pss"


def test_who_ran_and_the_process_lives_is_acquitted(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    note = CrashNote(tmp_path, 1)
    note.acquit(A)
    note.close()
    assert judged(tmp_path, A, B) == "-s"


def test_what_another_worker_found_out_meanwhile_is_not_forgotten(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    living = CrashNote(tmp_path, 1)
    died(tmp_path, [C])
    assert judged(tmp_path, C) == "s"
    living.acquit(A)
    living.close()
    assert judged(tmp_path, A, B, C) == "-ss"


def test_a_living_worker_learns_what_its_neighbors_find_out(tmp_path: Path) -> None:
    living = CrashNote(tmp_path, 1)
    assert not living.is_suspect(A)
    died(tmp_path, [A])
    neighbor = CrashNote(tmp_path, 1)
    assert living.is_suspect(A)
    assert not living.is_poison(A)
    died(tmp_path, [A])
    assert judged(tmp_path, A) == "P"
    assert living.is_poison(A)
    neighbor.acquit(A)
    assert not living.is_suspect(A)
    living.close()
    neighbor.close()


def test_what_was_over_is_not_held_against_anybody(tmp_path: Path) -> None:
    note = CrashNote(tmp_path, 1)
    note.running(0, [A])
    note.finished(0)
    note.running(0, [B] * 3)
    note.close()
    assert judged(tmp_path, A, B) == "--"
    assert not list(tmp_path.glob("*.note"))


def test_the_note_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    living = CrashNote(tmp_path, 1)
    living.running(0, [A])
    assert judged(tmp_path, A) == "-"
    assert len(list(tmp_path.glob("*.note"))) == 1
    living.close()


def test_a_batch_with_more_rows_than_a_slot_is_noted_as_far_as_it_fits(tmp_path: Path) -> None:
    note = CrashNote(tmp_path, 2)
    note.running(0, [n.to_bytes(16, "big") for n in range(MAX_ROWS + 50)])
    note.running(1, [A])
    note.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 3, b"\xff" * 5_000, os.urandom(9_000)])
def test_torn_files_are_harmless(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-a.note").write_bytes(content)
    (tmp_path / "suspects.json").write_bytes(content)
    assert judged(tmp_path, A) == "-"
    died(tmp_path, [A])
    assert judged(tmp_path, A) == "s"


def test_a_folder_that_cannot_be_written_costs_only_the_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    note = CrashNote(tmp_path / "file", 2)
    assert "cannot be noted" in caplog.text
    note.running(1, [A])
    note.finished(1)
    note.acquit(A)
    note.close()


def test_a_full_disk_neither_stops_nor_kills_the_process(tmp_path: Path) -> None:
    """Memory that is mapped to a file without room for it ends the process when it is touched."""
    body = """
import resource, sys
from pathlib import Path
from inferstream.pipeline.engine.crash_note import CrashNote
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
note = CrashNote(Path(sys.argv[1]), 2)
note.running(1, [b"k" * 16])
note.acquit(b"k" * 16)
note.close()
print("lives")
"""
    done = subprocess.run(
        [sys.executable, "-c", body, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "lives\n", done.stderr


def test_a_ledger_that_cannot_be_written_does_not_end_a_lane(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    died(tmp_path, [A])
    note = CrashNote(tmp_path, 1)
    caplog.set_level(logging.WARNING)
    (tmp_path / "suspects.json").unlink()
    (tmp_path / "suspects.json").mkdir()
    note.acquit(A)
    assert not note.is_suspect(A)
    note.close()


class Runway:
    """A device with two lanes and a note, whose suspects are given."""

    def __init__(self, directory: Path, session: FakeSession) -> None:
        clock = FakeClock()
        self.note = CrashNote(directory, 2)
        self.landed: queue.Queue[Flight] = queue.Queue()
        self.device = Device(
            session,
            lanes=2,
            limits=Limits(512, 8),
            cost=Cost((10.0, 0.01, 0.0001, 1e-7)),
            note=self.note,
            clock=clock,
            stopwatch=clock,
        )
        self.failed: queue.Queue[BaseException] = queue.Queue()
        self.device.start(self.land, self.failed.put)

    def land(self, flights: list[Flight]) -> None:
        for flight in flights:
            self.landed.put(flight)

    def put(self, key: bytes, text: str) -> None:
        task = Echo()
        flight = Flight(key, task, text, task.options({}), 0.0, float("inf"))
        flight.suspect = self.device.is_suspect(key)
        rows = [Entry(row, arrived=0.0, owner=flight) for row in task.prepare([text])[0]]
        for row in rows:
            row.alone = flight.suspect
        flight.board(rows, 0.0)
        self.device.batcher.put(rows)

    def wait(self, count: int) -> list[Flight]:
        return [self.landed.get(timeout=10) for _ in range(count)]


def test_of_several_suspects_one_runs_at_a_time(tmp_path: Path) -> None:
    """Were two on the device when the next process dies, the innocent one would be accused each time as well."""
    met: list[bool] = []
    both = threading.Barrier(2)

    class Meeting(FakeSession):
        def run(self, feeds: Any) -> Any:
            try:
                both.wait(0.1)
                met.append(True)
            except threading.BrokenBarrierError:
                met.append(False)
                both.reset()
            return super().run(feeds)

    died(tmp_path, [A, B, C])
    runway = Runway(tmp_path, Meeting())
    for key, text in ((A, "a"), (B, "bb"), (C, "ccc")):
        runway.put(key, text)
    runway.wait(3)
    runway.device.stop()
    assert met == [False] * 3
    assert judged(tmp_path, A, B, C) == "---"


def test_a_long_text_is_acquitted_when_all_its_rows_have_run(tmp_path: Path) -> None:
    """Its first row may be harmless: acquitted by that, the text would never be found out."""
    suspect: list[bool] = []

    class Watching(FakeSession):
        def run(self, feeds: Any) -> Any:
            suspect.append(runway.note.is_suspect(A))
            return super().run(feeds)

    died(tmp_path, [A])
    runway = Runway(tmp_path, Watching())
    runway.put(A, "x" * 32 + "y" * 8)
    runway.wait(1)
    runway.device.stop()
    assert suspect == [True, True]
    assert judged(tmp_path, A) == "-"


def test_a_device_that_is_gone_acquits_nobody(tmp_path: Path) -> None:
    class Gone(FakeSession):
        def run(self, feeds: Any) -> Any:
            raise DeviceUnavailable("gone")

    died(tmp_path, [A])
    runway = Runway(tmp_path, Gone())
    runway.put(A, "text")
    (flight,) = runway.wait(1)
    runway.device.stop()
    assert isinstance(flight.result, DeviceUnavailable)
    assert judged(tmp_path, A) == "s"


def test_a_device_that_is_lost_ends_the_process_and_is_a_crash_to_the_next(tmp_path: Path) -> None:
    class Lost(FakeSession):
        def run(self, feeds: Any) -> Any:
            raise DeviceLost("lost")

    for judgement in ("s", "P"):
        runway = Runway(tmp_path, Lost())
        runway.put(A, "text")
        assert isinstance(runway.failed.get(timeout=5), DeviceLost)
        assert runway.landed.empty()
        runway.device.stop()
        assert judged(tmp_path, A) == judgement
