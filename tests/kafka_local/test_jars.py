"""Only the jars of the lock file are on the class path."""

from pathlib import Path

import pytest

from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.kafka_local import jars as kafka_jars
from inferstream.pipeline.kafka_local.jars import Jar, class_path, jar_folder, locked_jars


@pytest.fixture
def small_jar() -> Jar:
    return next(jar for jar in locked_jars() if jar.artifact == "jspecify")


@pytest.fixture
def locked(small_jar: Jar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock file of one small jar."""
    lock = tmp_path / "one.lock"
    lock.write_text(f"{small_jar.sha256}  {small_jar.group}:{small_jar.artifact}:{small_jar.version}\n")
    monkeypatch.setattr(kafka_jars, "LOCK", lock)
    return lock


def test_lock_names_the_broker_and_digests_all() -> None:
    jars = locked_jars()
    assert ("kafka_2.13", kafka_jars.VERSION) in {(jar.artifact, jar.version) for jar in jars}
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert len({jar.filename for jar in jars}) == len(jars) > 40


def test_folder_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    assert jar_folder() == tmp_path / "kafka" / kafka_jars.VERSION


def test_damaged_jar_is_fetched_again(locked: Path, small_jar: Jar, tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    jar = folder / small_jar.filename
    jar.write_bytes(b"cut short")
    seen: list[tuple[int, int]] = []
    assert class_path(folder, lambda done, total: seen.append((done, total))) == str(jar)
    assert seen == [(1, 1)]
    assert jar.stat().st_size > 1_000
    assert class_path(folder, lambda done, total: seen.append((done, total))) == str(jar)
    assert seen == [(1, 1)], "a sound jar was fetched again"
    assert list(folder.iterdir()) == [jar]


def test_jar_other_than_locked_is_refused(locked: Path, small_jar: Jar, tmp_path: Path) -> None:
    locked.write_text(locked.read_text().replace(small_jar.sha256, "0" * 64))
    with pytest.raises(BrokerError, match="does not match the sha256"):
        class_path(tmp_path / "jars")
    assert not list((tmp_path / "jars").iterdir())


def test_unreachable_jar_is_one_sentence(locked: Path, tmp_path: Path) -> None:
    locked.write_text(f"{'0' * 64}  org.apache.kafka:no-such-artifact:0.0.1\n")
    with pytest.raises(
        BrokerError, match=r"no-such-artifact-0\.0\.1\.jar cannot be fetched .*: check the network"
    ):
        class_path(tmp_path / "jars")
