"""Contents on the device when a process died become suspects; the one at fault becomes poison."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.device_rig import DeviceRig

from inferstream.pipeline.engine.crash_note import MAX_KEYS, CrashNote
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
    """Kill a process while these batches are on its lanes."""
    lanes = [",".join(key.hex() for key in batch) for batch in batches]
    ended = subprocess.run([sys.executable, "-c", DIE, str(directory), *lanes], timeout=30, check=False)
    assert ended.returncode == -9


def judged(directory: Path, *keys: bytes) -> str:
    """How a new process judges each key: "-" harmless, "s" suspect, "P" poison."""
    note = CrashNote(directory, 2)
    found = "".join("P" if note.is_poison(key) else "s" if note.is_suspect(key) else "-" for key in keys)
    note.close()
    return found


def test_all_contents_on_the_device_are_suspects(tmp_path: Path) -> None:
    died(tmp_path, [A, B], [C])
    assert judged(tmp_path, A, B, C, b"x" * 16) == "sss-"
    assert judged(tmp_path, A, B, C) == "sss", "also after another start"


def test_a_content_is_poison_after_two_crashes_alone(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    died(tmp_path, [A])
    assert judged(tmp_path, A, B) == "ss"
    died(tmp_path, [A])
    assert judged(tmp_path, A, B) == "Ps"


def test_a_suspect_alone_in_its_lane_is_blamed_and_the_other_lanes_are_not(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    for _ in range(2):
        died(tmp_path, [A], [C])
    assert judged(tmp_path, A, B, C) == "Pss"


def test_a_suspect_that_ran_without_a_crash_is_cleared(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    note = CrashNote(tmp_path, 1)
    note.clear(A)
    note.close()
    assert judged(tmp_path, A, B) == "-s"


def test_clearing_a_suspect_keeps_those_that_another_worker_found(tmp_path: Path) -> None:
    died(tmp_path, [A, B])
    living = CrashNote(tmp_path, 1)
    died(tmp_path, [C])
    assert judged(tmp_path, C) == "s"
    living.clear(A)
    living.close()
    assert judged(tmp_path, A, B, C) == "-ss"


def test_a_running_worker_reads_the_suspects_of_other_workers(tmp_path: Path) -> None:
    living = CrashNote(tmp_path, 1)
    assert not living.is_suspect(A)
    died(tmp_path, [A])
    neighbor = CrashNote(tmp_path, 1)
    assert living.is_suspect(A)
    assert not living.is_poison(A)
    died(tmp_path, [A])
    assert judged(tmp_path, A) == "P"
    assert living.is_poison(A)
    neighbor.clear(A)
    assert not living.is_suspect(A)
    living.close()
    neighbor.close()


def test_a_batch_that_has_ended_makes_no_suspects(tmp_path: Path) -> None:
    note = CrashNote(tmp_path, 1)
    note.running(0, [A])
    note.finished(0)
    note.running(0, [B] * 3)
    note.close()
    assert judged(tmp_path, A, B) == "--"
    assert not list(tmp_path.glob("*.note"))


def test_the_note_of_a_running_process_is_not_taken(tmp_path: Path) -> None:
    living = CrashNote(tmp_path, 1)
    living.running(0, [A])
    assert judged(tmp_path, A) == "-"
    assert len(list(tmp_path.glob("*.note"))) == 1
    living.close()


def test_of_a_batch_with_more_contents_than_a_slot_holds_the_first_are_recorded(tmp_path: Path) -> None:
    keys = [n.to_bytes(16, "big") for n in range(1, MAX_KEYS + 51)]
    note = CrashNote(tmp_path, 2)
    note.running(0, keys)
    note.running(1, [A])
    note.keep()
    note.close()
    assert judged(tmp_path, *keys) == "s" * MAX_KEYS + "-" * 50
    assert judged(tmp_path, A, B) == "s-", "the slot of the next lane is intact"


@pytest.mark.parametrize("content", [b"", b"\0" * 3, b"\xff" * 5_000, os.urandom(9_000)])
def test_damaged_files_are_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-a.note").write_bytes(content)
    (tmp_path / "suspects.json").write_bytes(content)
    assert judged(tmp_path, A) == "-"
    died(tmp_path, [A])
    assert judged(tmp_path, A) == "s"


def test_a_folder_that_cannot_be_written_costs_only_the_crash_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    note = CrashNote(tmp_path / "file", 2)
    assert "crash note cannot be written" in caplog.text
    note.running(1, [A])
    note.finished(1)
    note.clear(A)
    note.close()


def test_a_full_disk_does_not_end_the_process(tmp_path: Path) -> None:
    """Touching a mapped page ends the process if the disk has no room for it."""
    body = """
import resource, sys
from pathlib import Path
from inferstream.pipeline.engine.crash_note import CrashNote
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
note = CrashNote(Path(sys.argv[1]), 2)
note.running(1, [b"k" * 16])
note.clear(b"k" * 16)
note.close()
print("lives")
"""
    done = subprocess.run(
        [sys.executable, "-c", body, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "lives\n", done.stderr


def test_a_suspect_file_that_cannot_be_written_does_not_end_a_lane(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    died(tmp_path, [A])
    note = CrashNote(tmp_path, 1)
    caplog.set_level(logging.WARNING)
    (tmp_path / "suspects.json").unlink()
    (tmp_path / "suspects.json").mkdir()
    note.clear(A)
    assert not note.is_suspect(A)
    assert "suspects of a crash cannot be stored" in caplog.text
    note.close()


def a_crash_rig(directory: Path, session: FakeSession) -> DeviceRig:
    """A started device with two lanes and a crash note."""
    rig = DeviceRig(session, lanes=2, note=CrashNote(directory, 2))
    rig.start()
    return rig


def test_only_one_suspect_runs_at_a_time(tmp_path: Path) -> None:
    """With two on the device when the next process dies, the harmless one would be blamed too."""
    together: list[bool] = []
    both = threading.Barrier(2)

    class Rendezvous(FakeSession):
        def run(self, feeds: Any) -> Any:
            try:
                both.wait(0.1)
                together.append(True)
            except threading.BrokenBarrierError:
                together.append(False)
                both.reset()
            return super().run(feeds)

    died(tmp_path, [A, B, C])
    rig = a_crash_rig(tmp_path, Rendezvous())
    for key, text in ((A, "a"), (B, "bb"), (C, "ccc")):
        rig.put(text, key=key)
    rig.wait(3)
    rig.stop()
    assert together == [False] * 3
    assert judged(tmp_path, A, B, C) == "---"


def test_a_long_text_is_cleared_when_all_its_rows_have_run(tmp_path: Path) -> None:
    """Its first row may be harmless: cleared after that one, the text would never become poison."""
    suspect: list[bool] = []

    class Watching(FakeSession):
        def run(self, feeds: Any) -> Any:
            suspect.append(rig.device.is_suspect(A))
            return super().run(feeds)

    died(tmp_path, [A])
    rig = a_crash_rig(tmp_path, Watching())
    rig.put("x" * 32 + "y" * 8, key=A)
    rig.wait(1)
    rig.stop()
    assert suspect == [True, True]
    assert judged(tmp_path, A) == "-"


def test_an_unavailable_device_clears_no_suspect(tmp_path: Path) -> None:
    died(tmp_path, [A])
    rig = a_crash_rig(tmp_path, FakeSession(fail_on={ord("!"): DeviceUnavailable}))
    rig.put("text!", key=A)
    results = rig.wait(1)
    rig.stop()
    assert isinstance(results["text!"], DeviceUnavailable)
    assert judged(tmp_path, A) == "s"


def test_a_lost_device_ends_the_process_and_counts_as_a_crash(tmp_path: Path) -> None:
    for judgement in ("s", "P"):
        rig = a_crash_rig(tmp_path, FakeSession(fail_on={ord("!"): DeviceLost}))
        rig.put("text!", key=A)
        assert isinstance(rig.failed.get(timeout=5), DeviceLost)
        assert rig.landed.empty()
        rig.stop()
        assert judged(tmp_path, A) == judgement


def test_processes_that_died_with_requests_on_the_device_are_counted_once(tmp_path: Path) -> None:
    died(tmp_path)
    idle = CrashNote(tmp_path, 2)
    died(tmp_path, [B], [C])
    first, second = CrashNote(tmp_path, 2), CrashNote(tmp_path, 2)
    for note in (idle, first, second):
        note.close()
    assert (idle.died, first.died, second.died) == (0, 1, 0)
