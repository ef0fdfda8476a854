"""Any damage to any file of a registry: a worker gets the right files, or a sentence, and has nothing half."""

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import FILES, published

from inferstream.pipeline.models.releases.faults import BadRelease, RegistryError, UnknownRelease
from inferstream.pipeline.models.releases.local.local import LocalReleases
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now

OLD = {"models/tiny/int8.json": b"old"}
NUMBERS = count()
KINDS = ("flip", "truncate", "append", "delete", "folder", "of another", "link to another", "empty")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An alias with two states, the newer one with the files of all kinds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # no machine is switched off here
        yield _filled(tmp_path_factory)


def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damaged") / "registry"
    store = open_registry(str(root))
    for files in (OLD, FILES):
        release = published(store, tmp_path_factory.mktemp("scratch"), files)
        Promoter(store).promote(ReleaseName("triage", alias="prod"), release.version, change_now())
    return root


def damage(path: Path, kind: str, place: int, other: Path) -> None:
    content = path.read_bytes()
    place %= max(len(content), 1)
    match kind:
        case "flip":
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
        case "truncate":
            os.truncate(path, place)
        case "append":
            path.write_bytes(content + b"\0" * (place + 1))
        case "empty":
            path.write_bytes(b"")
        case "of another":
            shutil.copyfile(other, path)
        case _:
            path.unlink()
    if kind == "folder":
        path.mkdir()
    if kind == "link to another":
        path.symlink_to(other)


@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(KINDS), place=st.integers(0, 20_000))
def test_any_damage_is_refused_or_changes_nothing(
    data: st.DataObject, kind: str, place: int, registry: Path
) -> None:
    folder = registry.parent / str(next(NUMBERS))
    shutil.copytree(registry, folder / "registry")
    files = sorted(path for path in (folder / "registry").rglob("*") if path.is_file())
    path, other = data.draw(st.sampled_from(files)), data.draw(st.sampled_from(files))
    if path != other:
        damage(path, kind, place, other)
    store = open_registry(str(folder / "registry"))
    here = LocalReleases(store, folder / "home")
    try:
        release = store.release("triage", store.alias("triage", "prod").stable)
        laid_out = here.lay_out(release)
    except (BadRelease, RegistryError, UnknownRelease) as error:
        sentence = str(error)
        assert sentence.endswith((".", "?")), sentence
        assert not list(here.laid_out())
        return
    found = {
        one.relative_to(laid_out).as_posix(): one.read_bytes() for one in laid_out.rglob("*") if one.is_file()
    }
    assert found.pop("release.json")
    # The newest state may be gone: then the state before it counts.
    assert found == FILES or (found == OLD and "aliases" in path.parts)
