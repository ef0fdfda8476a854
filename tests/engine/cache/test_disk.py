"""A broken disk cache costs speed, never an answer."""

import errno
import gc
import logging
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.open_files import has_proc, open_files_in

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.cache.disk import LOCK_TIMEOUT_S, REOPEN_DELAY_S, DiskCache, PlainDisk
from inferstream.pipeline.engine.cache.folder import (
    CacheFolder,
    is_broken,
    is_locked,
    is_of_one_value,
    is_unwritable,
)
from inferstream.pipeline.engine.cache.read_only import ReadOnlyCache

KEY, OTHER = b"k" * 16, b"o" * 16
VALUE = b'{"category": "billing"}'


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], DiskCache]]:
    caches: list[DiskCache] = []

    def open_cache() -> DiskCache:
        caches.append(DiskCache(tmp_path / "cache", 10_000_000))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


def stored(cache: DiskCache, key: bytes = KEY, value: bytes = VALUE) -> None:
    cache.put(key, value)
    cache.flush()


def databases(folder: Path) -> list[Path]:
    return sorted(folder.rglob("cache.db"))


def test_a_value_survives_reopening(tmp_path: Path) -> None:
    for _ in range(2):
        cache = DiskCache(tmp_path, 10_000_000)
        assert cache.get(OTHER) is None
        stored(cache)
        assert cache.get(KEY) == VALUE
        cache.close()
    reopened = DiskCache(tmp_path, 10_000_000)
    assert reopened.get(KEY) == VALUE
    reopened.close()


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_any_size_comes_back(opened: Callable[[], DiskCache], size: int) -> None:
    cache = opened()
    stored(cache, value=b"v" * size)
    assert cache.get(KEY) in {b"v" * size, None if size == 0 else b"v" * size}


def test_closing_twice_and_using_a_closed_cache_is_harmless(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    cache.close()
    cache.put(OTHER, VALUE)
    cache.close()


def garbage(folder: Path) -> None:
    for database in databases(folder):
        database.write_bytes(os.urandom(5_000))


def cut_off(folder: Path) -> None:
    for database in databases(folder):
        os.truncate(database, 1_000)


def emptied(folder: Path) -> None:
    for database in databases(folder):
        os.truncate(database, 0)


def another_schema(folder: Path) -> None:
    for database in databases(folder):
        database.unlink()
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE Cache (id INTEGER)")
        connection.close()


def deleted(folder: Path) -> None:
    shutil.rmtree(folder / "answers")


def a_file_in_the_way(folder: Path) -> None:
    deleted(folder)
    (folder / "answers").write_text("not a folder")


DAMAGE = [garbage, cut_off, emptied, another_schema, deleted, a_file_in_the_way]


@pytest.mark.parametrize("damage", DAMAGE[:-1])
def test_files_that_broke_while_closed_are_replaced(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    cache.close()
    damage(tmp_path)
    cache = DiskCache(tmp_path, 10_000_000)
    assert cache.get(KEY) is None
    stored(cache)
    stored(cache, OTHER)
    assert cache.get(OTHER) == VALUE
    cache.close()


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_that_break_while_open_cost_no_answer(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    damage(tmp_path)
    for n in range(20):
        key = bytes([n]) * 16
        assert cache.get(key) is None
        stored(cache, key)
        assert cache.get(key) in {VALUE, None}
    assert works(cache) or damage is a_file_in_the_way
    cache.close()


def works(cache: DiskCache) -> bool:
    """Whether stored values are found again, in each shard."""
    keys = [b"works" + bytes([n]) * 11 for n in range(20)]
    for key in keys:
        stored(cache, key)
    return [cache.get(key) for key in keys] == [VALUE] * 20


def test_files_that_break_again_are_reopened_after_the_back_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    cache = DiskCache(tmp_path, 10_000_000, clock=clock)
    for _ in range(2):
        stored(cache)
        garbage(tmp_path)
        stored(cache)
    assert not works(cache)
    assert len(caplog.messages) == 2
    clock.advance(REOPEN_DELAY_S)
    stored(cache)
    assert works(cache)
    cache.close()


def test_a_folder_that_comes_back_is_used_again(tmp_path: Path) -> None:
    clock = FakeClock()
    (tmp_path / "answers").write_text("not a folder")
    cache = DiskCache(tmp_path, 10_000_000, clock=clock)
    (tmp_path / "answers").unlink()
    stored(cache)
    clock.advance(REOPEN_DELAY_S - 0.01)
    stored(cache)
    assert not works(cache), "not before the back-off is over"
    clock.advance(REOPEN_DELAY_S)
    stored(cache)
    assert works(cache)
    cache.close()


@pytest.mark.parametrize("damage", DAMAGE[:-1])
def test_workers_that_share_a_folder_replace_it_together(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    clock = FakeClock()
    workers = [DiskCache(tmp_path, 10_000_000, clock=clock) for _ in range(3)]
    for _ in range(4):
        damage(tmp_path)
        for worker in workers:
            works(worker)
        assert all(works(worker) for worker in workers)
        assert len(databases(tmp_path)) == 4, "all use one folder, and the broken ones are deleted"
        stored(workers[0])
        assert [worker.get(KEY) for worker in workers] == [VALUE] * 3
        clock.advance(REOPEN_DELAY_S)
    for worker in workers:
        worker.close()


SHARING = """
    import itertools, time
    cache = DiskCache(folder, 10_000_000, clock=lambda: time.monotonic() * 1e6)
    for line in sys.stdin:
        numbers = map(str, range(200))
        found = 0
        for key in (f"{line.strip():>12}{n:>4}".encode() for n in numbers):
            cache.put(key, VALUE)
            cache.flush()
            found += cache.get(key) == VALUE
        print(found, flush=True)
    cache.close()
"""


def test_processes_that_share_a_folder_replace_it_together(tmp_path: Path) -> None:
    script = textwrap.dedent(HEAD) + textwrap.dedent(SHARING)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]

    def found(round_: str) -> list[int]:
        """How many of 200 stored answers each process found again."""
        for worker in workers:
            print(round_, file=worker.stdin, flush=True)
        return [int(worker.stdout.readline()) for worker in workers]

    for n in range(5):
        assert min(found(f"replaced-{n}")) > 100
        assert found(f"intact-{n}") == [200, 200]
        garbage(tmp_path)
    for worker in workers:
        worker.communicate(timeout=20)
        assert worker.returncode == 0


def in_the_database(folder: Path, statement: str) -> None:
    for database in databases(folder):
        connection = sqlite3.connect(database)
        with connection:
            connection.execute(statement)
        connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE Cache SET value = replace(hex(value), '6', '7')",
        "UPDATE Cache SET value = x'00' || substr(value, 2)",
        "UPDATE Cache SET value = substr(value, 1, length(value) - 1)",
        "UPDATE Cache SET value = x''",
        "UPDATE Cache SET value = 7",
        "UPDATE Cache SET value = NULL",
    ],
)
def test_a_value_that_was_changed_is_a_miss(tmp_path: Path, change: str) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    in_the_database(tmp_path, change)
    assert cache.get(KEY) is None
    stored(cache)
    assert cache.get(KEY) == VALUE
    cache.close()


def test_the_value_of_another_key_is_a_miss(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000, shards=1)
    stored(cache)
    stored(cache, OTHER, b"another value")
    in_the_database(
        tmp_path, f"UPDATE Cache SET value = (SELECT value FROM Cache WHERE key = x'{OTHER.hex()}')"
    )
    assert cache.get(KEY) is None
    assert cache.get(OTHER) == b"another value"
    cache.close()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (os.environ["BOMB"],))


def test_values_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    for database in databases(tmp_path):
        connection = sqlite3.connect(database)
        with connection:
            connection.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Bomb()),))
        connection.close()
    assert cache.get(KEY) is None
    assert not (tmp_path / "exploded").exists()
    cache.close()


HEAD = """
    import logging, os, sys
    from pathlib import Path
    from inferstream.pipeline.engine.cache.disk import DiskCache
    logging.basicConfig(stream=sys.stderr, level="WARNING")
    folder, KEY, VALUE = Path(sys.argv[1]), b"k" * 16, b"v" * 200
"""


def run_alone(tmp_path: Path, body: str) -> str:
    """Run ``body`` in a process of its own; returns what it printed."""
    script = textwrap.dedent(HEAD) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) < 20, "a disk that stays broken logs few lines"
    return done.stdout


OPEN = """
    cache = DiskCache(folder, 10_000_000)
"""
FILL = """
    for n in range(300):
        key = n.to_bytes(16, "big")
        assert cache.get(key) is None
        cache.put(key, VALUE)
        if n % 10 == 0:
            cache.flush()
        assert cache.get(key) in (VALUE, None)
    cache.close()
    print("answered")
"""
FULL = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
"""


@pytest.mark.parametrize("body", [FULL + OPEN + FILL, OPEN + FULL + FILL], ids=["at the start", "later"])
def test_a_full_disk_costs_no_answer(tmp_path: Path, body: str) -> None:
    assert run_alone(tmp_path, body) == "answered\n"


CUT_OFF = """
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        os.truncate(path, 1_000)
"""


def test_files_that_are_cut_off_under_a_process_do_not_end_it(tmp_path: Path) -> None:
    """With memory-mapped files it would: reading past the new end is a bus error."""
    refill = FILL.replace("range(300)", "range(300, 600)").replace("cache.close()", "cache.flush()")
    assert run_alone(tmp_path, OPEN + FILL.replace("cache.close()", "cache.flush()") + CUT_OFF + refill) == (
        "answered\n" * 2
    )


def test_a_process_without_file_handles_deletes_nothing(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    drop = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
    """
    assert run_alone(tmp_path, drop + OPEN + FILL) == "answered\n"
    assert cache.get(KEY) == VALUE
    cache.close()


def run_each(database: Path, statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements.split(";"):
            connection.execute(statement)


def test_files_are_broken_only_if_every_process_would_fail_on_them(tmp_path: Path) -> None:
    """A full disk or a missing right of one process must not delete files that others can use."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    bad.write_bytes(os.urandom(5_000))
    run_each(good, "CREATE TABLE whole (value)")
    cases = [
        (good, "INSERT INTO missing VALUES (1)", True),
        (bad, "SELECT * FROM whole", True),
        (good, "PRAGMA max_page_count = 2; INSERT INTO whole VALUES (zeroblob(100000))", False),
        (good, "PRAGMA query_only = 1; INSERT INTO whole VALUES (1)", False),
        (tmp_path / "no" / "folder", "SELECT 1", False),
    ]
    for path, statements, broken in cases:
        with pytest.raises(sqlite3.Error) as raised:
            run_each(path, statements)
        assert is_broken(raised.value) == broken, statements
    assert not is_broken(OSError(errno.ENOSPC, "No space left on device"))
    assert is_broken(ValueError("settings of another version"))


def test_a_folder_that_cannot_be_made_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_alone(tmp_path / "file", OPEN + FILL) == "answered\n"


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    """Another user's folder. Root could write to it, so the process gives up root first."""
    cache = DiskCache(tmp_path, 10_000_000)
    cache.close()
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    drop = """
    os.geteuid() or os.seteuid(65534)
    """
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    try:
        assert run_alone(tmp_path, drop + OPEN + FILL) == "answered\n"
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache, KEY, b"v" * 200)
    body = """
    cache = DiskCache(folder, 10_000_000)
    assert cache.get(KEY) == VALUE
    for n in range(200):
        cache.put(n.to_bytes(16, "big"), VALUE)
    cache.close()
    print("shared")
    """
    for n in range(200, 400):
        cache.put(n.to_bytes(16, "big"), b"v" * 200)
    assert run_alone(tmp_path, body) == "shared\n"
    cache.flush()
    assert all(cache.get(n.to_bytes(16, "big")) == b"v" * 200 for n in range(400))
    cache.close()


def test_a_process_that_hangs_in_a_write_does_not_block_others(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    hung = [sqlite3.connect(database, isolation_level=None) for database in databases(tmp_path)]
    for connection in hung:
        connection.execute("BEGIN IMMEDIATE")
    cache.put(KEY, VALUE)
    assert cache.get(KEY) is None
    closing = threading.Thread(target=cache.close, daemon=True)
    closing.start()
    closing.join(20)
    for connection in hung:
        connection.close()
    assert not closing.is_alive()


def test_a_process_that_hangs_in_a_commit_delays_one_read_at_most(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000, shards=1)
    stored(cache)
    hung = sqlite3.connect(databases(tmp_path)[0], isolation_level=None)
    hung.execute("BEGIN EXCLUSIVE")
    began = time.perf_counter()
    assert [cache.get(KEY) for _ in range(20)] == [None] * 20
    assert time.perf_counter() - began < 10 * LOCK_TIMEOUT_S
    hung.close()
    cache.close()


def test_a_disk_that_falls_behind_drops_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cache = DiskCache(tmp_path, 10_000_000, max_queued=1)
    for n in range(2_000):
        cache.put(n.to_bytes(16, "big"), VALUE)
    cache.close()
    assert "falls behind" in caplog.text


def limit_pages(folder: Path, pages: int) -> None:
    """Let SQLite find the disk full at this number of pages: diskcache sets it for each connection."""
    in_the_database(folder, f"INSERT OR REPLACE INTO Settings VALUES ('sqlite_max_page_count', {pages})")


def keys(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]


def test_a_full_disk_is_read_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    for key in keys(100):
        cache.put(key, VALUE)
    cache.close()
    folders = set((tmp_path / "answers").iterdir())
    limit_pages(tmp_path, 1)  # SQLite takes the present size where the limit is below it

    clock = FakeClock()
    cache = DiskCache(tmp_path, 10_000_000, clock=clock)
    for number in range(2_000):
        cache.put(b"%016d" % number, os.urandom(2_000))
    cache.flush()
    assert all(cache.get(key) == VALUE for key in keys(100))
    assert any(cache.get(b"%016d" % number) is None for number in range(2_000)), "the disk was not full"
    refusals = 1
    for seconds in (0.0, REOPEN_DELAY_S - 0.01, 0.01, 0.0):
        clock.advance(seconds)
        refusals += seconds == 0.01
        for number in range(100):
            cache.put(b"%016d" % (number + 5_000), os.urandom(20_000))
        cache.flush()
        assert caplog.text.count("cannot be written") == refusals, "one attempt in 30 s"
    limit_pages(tmp_path, 1_000_000)
    cache.close()
    assert set((tmp_path / "answers").iterdir()) == folders, "the files were replaced"


def test_a_cache_that_may_not_be_written_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    for key in keys(100):
        cache.put(key, VALUE)
    cache.put(OTHER, b"x" * 100_000)  # diskcache stores it in a file of its own
    cache.close()

    def refuse(self: object, open_files: object, broken: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    clock = FakeClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CacheFolder, "open", refuse)
        cache = DiskCache(tmp_path, 10_000_000, clock=clock)
        assert "new answers are kept in memory only" in caplog.text
        assert [cache.get(key) for key in keys(100)] == [VALUE] * 100
        assert cache.get(OTHER) == b"x" * 100_000
        cache.put(KEY, VALUE)
        cache.flush()
        assert cache.get(KEY) is None
        assert [cache.get(key) for key in keys(100)] == [VALUE] * 100, "it is read on"
    clock.advance(REOPEN_DELAY_S)
    cache.put(KEY, VALUE)
    cache.flush()
    stored(cache)
    assert cache.get(KEY) == VALUE, "it is written again as soon as that is possible"
    cache.close()


@pytest.mark.parametrize("found", [b"", b"not a database at all" * 100])
def test_a_read_only_cache_that_cannot_be_read_is_a_miss(
    tmp_path: Path, found: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    cache.close()
    for path in databases(tmp_path):
        path.write_bytes(found)

    def refuse(self: object, open_files: object, broken: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(CacheFolder, "open", refuse)
    cache = DiskCache(tmp_path, 10_000_000)
    assert cache.get(KEY) is None
    cache.close()


@has_proc
def test_a_closed_cache_has_no_thread_and_no_open_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    cache = DiskCache(tmp_path, 10_000_000)
    for key in keys(50):
        cache.put(key, VALUE)
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["disk-cache"]
    cache.get(KEY)
    cache.close()
    assert set(threading.enumerate()) <= before
    assert open_files_in(tmp_path) == []
    reopened = DiskCache(tmp_path, 10_000_000)
    assert [reopened.get(key) for key in keys(50)] == [VALUE] * 50, "what was put is written first"
    reopened.close()


@has_proc
def test_files_that_are_replaced_are_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # a log record that is kept holds its error, and so the files
    clock = FakeClock()
    cache = DiskCache(tmp_path, 10_000_000, clock=clock)
    for _ in range(4):
        garbage(tmp_path)
        stored(cache)
        clock.advance(REOPEN_DELAY_S)
        stored(cache)
    cache.close()
    gc.collect()
    assert open_files_in(tmp_path) == []


def test_the_files_are_bounded(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 200_000)
    for number in range(500):
        cache.put(b"%016d" % number, os.urandom(2_000))
    cache.close()
    assert sum(path.stat().st_size for path in databases(tmp_path)) < 700_000


def test_a_cache_that_was_locked_is_read_again_after_the_back_off(tmp_path: Path) -> None:
    clock = FakeClock()
    cache = DiskCache(tmp_path, 10_000_000, shards=1, clock=clock)
    stored(cache)
    hung = sqlite3.connect(databases(tmp_path)[0], isolation_level=None)
    hung.execute("BEGIN EXCLUSIVE")
    assert cache.get(KEY) is None
    hung.close()
    clock.advance(REOPEN_DELAY_S - 0.01)
    assert cache.get(KEY) is None
    clock.advance(0.01)
    assert cache.get(KEY) == VALUE
    cache.close()


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the open files of a process are read from /proc"
)
def test_a_closed_cache_that_may_not_be_written_has_no_open_file(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 10_000_000)
    stored(cache)
    cache.close()
    (folder,) = {database.parents[1] for database in databases(tmp_path)}
    read_only = ReadOnlyCache(folder, 4, PlainDisk)
    assert len(open_files_in(tmp_path)) == 4
    read_only.close()
    assert open_files_in(tmp_path) == []


def test_without_a_name_of_the_folder_in_use_a_new_one_is_opened_and_nothing_else(tmp_path: Path) -> None:
    paths: list[object] = []

    def open_files(path: Path) -> None:
        paths.append(path)
        path.mkdir()

    folder = CacheFolder(tmp_path)
    for broken in (None, tmp_path / "answers" / "broken"):
        (tmp_path / "answers" / "current").unlink(missing_ok=True)
        path, _ = folder.open(open_files, broken)
        assert folder.current() == path
        assert paths.pop() == path
        assert paths == []


def test_a_folder_in_which_no_files_can_be_opened_keeps_what_it_has(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "deep" / "below")
    path, _ = folder.open(Path.mkdir, None)
    (path / "kept").write_text("")
    error = OSError(errno.ENOSPC, "No space left on device")

    def fail(_: Path) -> None:
        raise error

    for broken in (None, path):  # in use, or to be replaced
        with pytest.raises(OSError, match="No space left") as raised:
            folder.open(fail, broken)
        assert raised.value is error
        assert folder.current() == path
    assert [found.name for found in path.iterdir()] == ["kept"]


def test_a_folder_that_replaces_another_is_alone(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    first, _ = folder.open(Path.mkdir, None)
    assert folder.open(Path.exists, None) == (first, True), "the one in use is opened again"
    (tmp_path / "answers" / "stray").write_text("")
    (first / "file").write_text("")
    second, _ = folder.open(Path.mkdir, first)
    assert second != first
    assert {path.name for path in (tmp_path / "answers").iterdir()} == {"current", second.name}
    assert folder.current() == second


@pytest.mark.parametrize(
    ("number", "unwritable"),
    [
        (errno.ENOSPC, True),
        (errno.EROFS, True),
        (errno.EACCES, True),
        (errno.ENOENT, False),
        (errno.EMFILE, False),
    ],
)
def test_an_error_of_the_system_is_never_a_broken_file(number: int, unwritable: bool) -> None:
    error = OSError(number, "refused")
    assert (is_broken(error), is_unwritable(error)) == (False, unwritable)
    assert (is_locked(error), is_of_one_value(error)) == (False, False)


def test_an_error_of_one_value_is_told_from_an_error_of_the_files(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "good")) as connection, pytest.raises(sqlite3.Error) as raised:
        connection.execute("SELECT ?", (object(),))
    assert is_of_one_value(raised.value)
    with closing(sqlite3.connect(tmp_path / "good")) as connection, pytest.raises(sqlite3.Error) as raised:
        connection.execute("SELECT * FROM missing")
    assert not is_of_one_value(raised.value)
    assert not is_of_one_value(ValueError("another version"))


def test_a_rollback_that_fails_is_judged_by_what_it_was_for(tmp_path: Path) -> None:
    """On a full disk SQLite has rolled back itself, and the rollback of diskcache fails."""
    with closing(sqlite3.connect(tmp_path / "good", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE whole (value)")
        connection.execute("PRAGMA max_page_count = 2")

        def failed(later: str, first: str = "INSERT INTO whole VALUES (zeroblob(100000))") -> sqlite3.Error:
            def both() -> None:
                try:
                    connection.execute(first)
                finally:
                    connection.execute(later)

            with pytest.raises(sqlite3.Error) as raised:
                both()
            return raised.value

        full = failed("ROLLBACK")
        assert (is_broken(full), is_unwritable(full)) == (False, True)
        another = failed("SELECT * FROM missing")
        assert (is_broken(another), is_unwritable(another)) == (True, False)
        no_transaction = failed("ROLLBACK", first="SELECT 1")
        assert (is_of_one_value(no_transaction), is_unwritable(no_transaction)) == (False, False)
