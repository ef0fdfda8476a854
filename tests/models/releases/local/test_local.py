"""Releases laid out on this machine: whole or not at all, and never a damaged one."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.releases import FILES, published, stored

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.models.releases.faults import BadRelease, RegistryError
from inferstream.pipeline.models.releases.local import local
from inferstream.pipeline.models.releases.local.local import LocalReleases
from inferstream.pipeline.models.releases.registry.layout import object_path
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.release import Origin, Release, StoredFile


@pytest.fixture(autouse=True)
def not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine is switched off here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return open_registry(str(tmp_path / "registry"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def here(store: ReleaseStore, home: Path) -> LocalReleases:
    return LocalReleases(store, home)


def contents(folder: Path) -> dict[str, bytes]:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    files.pop("release.json")
    return files


def parts(home: Path) -> list[Path]:
    return list(home.rglob("*.part"))


def test_a_release_is_laid_out_as_a_home_folder(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path
) -> None:
    release = published(store, tmp_path)
    folder = here.lay_out(release)
    assert folder == home / "releases" / release.version
    assert contents(folder) == FILES
    assert list(here.laid_out()) == [release]
    assert not parts(home)


def test_files_are_shared_by_releases(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path
) -> None:
    first = published(store, tmp_path)
    second = published(store, tmp_path, {**FILES, "heads/shop/current": b"ba9876543210"})
    graphs = [here.lay_out(release) / "models/tiny/int8.onnx" for release in (first, second)]
    assert graphs[0].samefile(graphs[1])


def test_without_hard_links_it_copies(
    store: ReleaseStore, here: LocalReleases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = published(store, tmp_path)

    def link(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(local.os, "link", link)
    assert contents(here.lay_out(release)) == FILES


def test_what_is_laid_out_needs_no_registry(store: ReleaseStore, here: LocalReleases, tmp_path: Path) -> None:
    release = published(store, tmp_path)
    folder = here.lay_out(release)
    shutil.rmtree(tmp_path / "registry")
    assert here.lay_out(release) == folder


# What damage there may be in the registry: each kind, on each kind of file.

Damage = Callable[[Path], None]


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x" * 10_000)


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another(path: Path) -> None:
    path.write_bytes(b"{}")


DAMAGES: list[Damage] = [truncated, emptied, flipped, longer, missing, a_folder, of_another]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", FILES)
def test_a_damaged_object_is_refused_and_the_release_absent(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path, path: str, damage: Damage
) -> None:
    good = here.lay_out(published(store, tmp_path, {"models/other/int8.json": b"other"}))
    release = published(store, tmp_path)
    damage(tmp_path / "registry" / object_path(stored(FILES[path]).sha256))
    with pytest.raises((BadRelease, RegistryError), match=r"damaged|lacks the object|cannot be used"):
        here.lay_out(release)
    assert [folder for folder in here.folder.iterdir() if folder.is_dir()] == [good]
    assert not parts(home)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", FILES)
def test_a_damaged_file_on_this_machine_is_laid_out_again(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path, path: str, damage: Damage
) -> None:
    """The objects here are damaged with it: they are the same file."""
    release = published(store, tmp_path)
    damage(here.lay_out(release) / path)
    assert contents(here.lay_out(release)) == FILES
    assert not parts(home)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_on_this_machine_is_laid_out_again(
    store: ReleaseStore, here: LocalReleases, tmp_path: Path, damage: Damage
) -> None:
    release = published(store, tmp_path)
    damage(here.lay_out(release) / "release.json")
    assert contents(here.lay_out(release)) == FILES
    assert list(here.laid_out()) == [release]


@pytest.mark.parametrize("path", ["models/tiny", "models/tiny/int8.onnx"])
def test_a_link_in_a_release_is_not_followed(
    store: ReleaseStore, here: LocalReleases, tmp_path: Path, path: str
) -> None:
    release = published(store, tmp_path)
    place = here.lay_out(release) / path
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    folder = here.lay_out(release)
    assert not (folder / path).is_symlink()
    assert contents(folder) == FILES


def without_lineage(release: Release) -> Release:
    return msgspec.structs.replace(release, origin=Origin(" "))


def with_path(path: str) -> Callable[[Release], Release]:
    return lambda release: msgspec.structs.replace(release, files={**release.files, path: stored(b"x")})


def with_file(file: StoredFile) -> Callable[[Release], Release]:
    return lambda release: msgspec.structs.replace(release, files={**release.files, "x": file})


def with_gate(gate: Gate | None) -> Callable[[Release], Release]:
    return lambda release: msgspec.structs.replace(release, gate=gate)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without_lineage, "its lineage is missing"),
        (with_gate(None), "it was not measured"),
        (
            with_gate(Gate({"min_share": 0.97}, False, ("It kept 90 %.",))),
            r"its gate is closed \(It kept 90 %.\)",
        ),
        (with_path("../outside"), "the path '../outside' has the part '..'"),
        (with_path("models/../../outside"), "has the part '..'"),
        (with_path("/etc/cron.d/x"), "is absolute"),
        (with_path("C:/x"), "has characters that"),
        (with_path("C:\\x"), "has characters that"),
        (with_path("models/tiny/int8.onnx/x"), "is below the file"),
        (with_path("Models/Tiny/INT8.onnx"), "is also that of another"),
        (with_path("release.json"), "is also that of another"),
        (with_file(StoredFile("../../../../etc/passwd", 1)), "has no sha256"),
        (with_file(StoredFile("0" * 64, -1)), "has a size of -1 bytes"),
        (with_file(StoredFile("0" * 64, 1 << 60)), "has a size of"),
        (lambda release: msgspec.structs.replace(release, format=2), "it has the format 2"),
        (lambda release: msgspec.structs.replace(release, name="../x"), "its model has the name"),
        (lambda release: msgspec.structs.replace(release, task="../x"), "its manifest is for the task"),
        (lambda release: msgspec.structs.replace(release, files={}), "it has 0 files"),
    ],
)
def test_a_release_that_must_not_be_served_is_refused(
    store: ReleaseStore,
    here: LocalReleases,
    tmp_path: Path,
    change: Callable[[Release], Release],
    sentence: str,
) -> None:
    release = change(published(store, tmp_path))
    with pytest.raises(BadRelease, match=sentence):
        here.lay_out(release)
    assert not here.folder.exists()


def test_a_release_that_was_forced_is_served(
    store: ReleaseStore, here: LocalReleases, tmp_path: Path
) -> None:
    release = published(store, tmp_path, gate=Gate({}, False, ("It was not measured.",), forced=True))
    assert contents(here.lay_out(release)) == FILES


def test_a_release_larger_than_the_disk_is_refused(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000_000))
    with pytest.raises(ModelError, match=r"needs 0 MB more in .*, and 50 MB are free"):
        here.lay_out(published(store, tmp_path))
    assert not (home / "objects").exists()


def test_a_release_that_is_there_needs_no_right_to_write(
    store: ReleaseStore, here: LocalReleases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = published(store, tmp_path)
    folder = here.lay_out(release)

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("utime", "link", "mkdir"):
        monkeypatch.setattr(f"os.{name}", read_only)
    monkeypatch.setattr(local, "lock_file", read_only)
    assert here.lay_out(release) == folder
    (folder / "heads/shop/current").unlink()
    with pytest.raises(ModelError, match=r"cannot be stored in .*: Read-only file system"):
        here.lay_out(release)


def test_a_full_disk_here_is_not_the_fault_of_the_registry(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    release = published(store, tmp_path)
    monkeypatch.setattr(store.storage, "fetch", fetch)
    with pytest.raises(ModelError, match=f"cannot be stored in {home}/releases: No space left on device"):
        here.lay_out(release)
    assert not parts(home)


def test_several_lay_out_the_same_release_at_once(
    store: ReleaseStore, here: LocalReleases, home: Path, tmp_path: Path
) -> None:
    release = published(store, tmp_path)
    faults: list[BaseException] = []
    start = threading.Barrier(6)

    def lay_out() -> None:
        start.wait()
        try:
            LocalReleases(store, home).lay_out(release)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=lay_out) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert contents(here.folder / release.version) == FILES
    assert not parts(home)


def test_several_at_once_where_there_are_no_locks(
    store: ReleaseStore, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "lock_file", lambda _: False)
    test_several_lay_out_the_same_release_at_once(store, LocalReleases(store, home), home, tmp_path)
