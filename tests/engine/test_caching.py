"""A key is equal exactly when all its parts are; a cache that breaks costs speed, never an answer."""

import logging
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.caching import DiskCache, MemoryCache, content_key, content_prefix

KEY, OTHER = b"k" * 16, b"o" * 16
VALUE = b'{"category": "billing"}'

parts = st.tuples(
    st.text(max_size=4), st.binary(max_size=4), st.text(max_size=4), st.binary(max_size=4), st.text()
)
similar = st.text(alphabet="1:a", max_size=4)
similar_parts = st.tuples(similar, similar.map(str.encode), similar, similar.map(str.encode), similar)


def key_of(tenant: str, digest: bytes, task: str, options: bytes, text: str) -> bytes:
    return content_key(content_prefix(tenant, digest, task, options), text)


@given(st.one_of(parts, similar_parts), st.one_of(parts, similar_parts))
def test_keys_are_equal_exactly_when_all_parts_are(
    one: tuple[str, bytes, str, bytes, str], other: tuple[str, bytes, str, bytes, str]
) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


@given(similar, similar, st.integers(0, 4), st.integers(0, 4))
def test_moving_a_character_to_the_next_part_changes_the_key(a: str, b: str, cut: int, other: int) -> None:
    whole = a + b
    first, second = ((whole[:n], b"", whole[n:], b"", "text") for n in (cut, other))
    assert (key_of(*first) == key_of(*second)) == (first == second)


def test_a_key_is_the_same_in_every_process() -> None:
    assert key_of("t", b"d", "triage", b"{}", "I was charged twice").hex() == (
        "b5df862e59c18b4bac47f209a0e5cb7a"
    )


def test_half_a_surrogate_pair_has_a_key_as_well() -> None:
    assert key_of("", b"", "", b"", "\ud800") != key_of("", b"", "", b"", "?")


def entry(size: int) -> int:
    return size + MemoryCache.ENTRY_BYTES


def test_memory_forgets_the_least_recently_used() -> None:
    cache = MemoryCache(3 * entry(10))
    for name in b"abc":
        cache.put(bytes([name]), b"x" * 10)
    assert cache.get(b"a") == b"x" * 10
    cache.put(b"d", b"x" * 10)
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


class Model:
    """What the memory tier must do, in the plainest way."""

    def __init__(self, most_bytes: int) -> None:
        self.items: list[tuple[bytes, bytes]] = []
        self.most_bytes = most_bytes

    def put(self, key: bytes, value: bytes) -> None:
        self.items = [item for item in self.items if item[0] != key] + [(key, value)]
        while sum(entry(len(value)) for _, value in self.items) > self.most_bytes:
            self.items.pop(0)

    def get(self, key: bytes) -> bytes | None:
        found = dict(self.items).get(key)
        if found is not None:
            self.items = [item for item in self.items if item[0] != key] + [(key, found)]
        return found


@given(
    most=st.integers(0, 2_000),
    steps=st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.none() | st.integers(0, 900)),
        max_size=60,
    ),
)
def test_memory_is_bounded_by_bytes(most: int, steps: list[tuple[bytes, int | None]]) -> None:
    cache, model = MemoryCache(most), Model(most)
    for key, size in steps:
        if size is None:
            assert cache.get(key) == model.get(key)
        else:
            cache.put(key, b"v" * size)
            model.put(key, b"v" * size)
        assert len(cache) == len(model.items)


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
def test_files_that_broke_while_closed_are_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
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
    cache.close()


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


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def run_alone(tmp_path: Path, body: str) -> str:
    """Run ``body`` in a process of its own; what it printed."""
    head = """
        import logging, os, sys
        from pathlib import Path
        from inferstream.pipeline.engine.caching import DiskCache
        logging.basicConfig(stream=sys.stderr, level="WARNING")
        folder, KEY, VALUE = Path(sys.argv[1]), b"k" * 16, b"v" * 200
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) < 20, "a disk that stays broken does not flood the log"
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


def test_a_folder_that_cannot_be_made_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_alone(tmp_path / "file", OPEN + FILL) == "answered\n"


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    """Another user's folder; as root it can be written all the same, so this process gives root up first."""
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


def test_a_process_that_hangs_while_it_writes_holds_nobody_up(tmp_path: Path) -> None:
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


def test_a_disk_that_falls_behind_drops_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cache = DiskCache(tmp_path, 10_000_000, most_queued=1)
    for n in range(2_000):
        cache.put(n.to_bytes(16, "big"), VALUE)
    cache.close()
    assert "falls behind" in caplog.text
