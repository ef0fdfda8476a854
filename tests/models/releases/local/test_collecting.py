"""Which releases go from this machine."""

import os
from pathlib import Path

import pytest
from support.releases import published

from inferstream.pipeline.locks import lock_file
from inferstream.pipeline.models.releases.local.collecting import LocalCollector
from inferstream.pipeline.models.releases.local.local import LocalReleases, lock_of
from inferstream.pipeline.models.releases.registry.collecting import GRACE_S
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.release import Release

LATER = 4_000_000_000.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def here(tmp_path: Path, home: Path) -> LocalReleases:
    return LocalReleases(open_registry(str(tmp_path / "registry")), home)


@pytest.fixture
def releases(here: LocalReleases, tmp_path: Path) -> list[Release]:
    store = open_registry(str(tmp_path / "registry"))
    files = [
        {"models/tiny/tokenizer.json": b"shared", "models/tiny/int8.onnx": b"%d" % one * 9}
        for one in range(3)
    ]
    made = [published(store, tmp_path, one) for one in files]
    for release in made:
        here.lay_out(release)
    return made


def objects(home: Path) -> list[Path]:
    return [path for path in (home / "objects").rglob("*") if path.is_file()]


def test_what_nothing_names_goes_with_its_objects(
    home: Path, here: LocalReleases, releases: list[Release]
) -> None:
    kept, *others = releases
    collector = LocalCollector({("triage", kept.version)}, home, lambda: LATER)
    dry = collector.collect(dry_run=True)
    assert len(objects(home)) == 4
    assert collector.collect() == dry
    assert dry.versions == tuple(sorted(release.version for release in others))
    assert dry.size_bytes == 18
    assert list(here.laid_out()) == [kept]
    assert len(objects(home)) == 2
    here.lay_out(kept)
    here.lay_out(others[0])


def test_what_was_used_within_a_day_stays(home: Path, here: LocalReleases, releases: list[Release]) -> None:
    folder = here.folder / releases[0].version
    os.utime(folder, (0, 0))
    here.lay_out(releases[0])
    used = folder.stat().st_mtime
    assert LocalCollector((), home, lambda: used + GRACE_S - 60).collect().versions == ()
    assert len(LocalCollector((), home, lambda: used + GRACE_S + 60).collect().versions) == 3


def test_what_another_process_lays_out_stays(
    home: Path, here: LocalReleases, releases: list[Release]
) -> None:
    with lock_of(here.folder / releases[0].version).open("ab") as file:
        lock_file(file)
        LocalCollector((), home, lambda: LATER).collect()
    assert list(here.laid_out()) == [releases[0]]


def test_parts_of_killed_processes_go(home: Path, here: LocalReleases, releases: list[Release]) -> None:
    (here.folder / f".{releases[0].version}.abc.part").mkdir()
    part = objects(home)[0].with_suffix(".part")
    part.write_bytes(b"x")
    LocalCollector({("triage", one.version) for one in releases}, home, lambda: LATER).collect()
    assert not list(home.rglob("*.part"))
    assert len(list(here.laid_out())) == 3


def test_a_home_without_releases(home: Path) -> None:
    assert LocalCollector((), home, lambda: LATER).collect().versions == ()
