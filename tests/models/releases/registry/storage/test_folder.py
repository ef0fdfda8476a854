"""A registry in a folder."""

import errno
import os
import threading
from pathlib import Path

import pytest
from support.registry_contract import A, RegistryContract, change
from support.releases import a_release

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.releases.alias import AliasState, promoted
from inferstream.pipeline.models.releases.faults import AliasChanged, RegistryError
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.storage import folder_storage
from inferstream.pipeline.models.releases.registry.store import ReleaseStore


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return open_registry(str(tmp_path / "registry"))


class TestFolder(RegistryContract):
    def test_of_promoters_at_once_one_wins(self, store: ReleaseStore) -> None:
        states = [promoted(None, A, change(str(number))) for number in range(8)]
        won: list[AliasState] = []
        start = threading.Barrier(len(states))

        def promote(state: AliasState) -> None:
            start.wait()
            try:
                store.put_alias("triage", "prod", state)
            except AliasChanged:
                return
            won.append(state)

        threads = [threading.Thread(target=promote, args=(state,)) for state in states]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [store.alias("triage", "prod")]


class TestFolderWithoutHardLinks(RegistryContract):
    @pytest.fixture(autouse=True)
    def without_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(folder_storage.os, "link", link)


def test_nothing_is_left_beside_the_files(store: ReleaseStore, tmp_path: Path) -> None:
    store.put_release(a_release())
    store.put_release(a_release())
    store.put_alias("triage", "prod", promoted(None, A, change()))
    assert not list(tmp_path.rglob("*.part"))


def test_reading_makes_no_folder(store: ReleaseStore, tmp_path: Path) -> None:
    assert store.tasks() == []
    assert not (tmp_path / "registry").exists()


def test_without_an_address_it_is_in_the_home_folder(tmp_path: Path) -> None:
    assert open_registry(home=tmp_path).shown == str(tmp_path / "registry")
    assert open_registry(f"file://{tmp_path}/x").shown == f"{tmp_path}/x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_is_named(store: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir(mode=0o500)
    with pytest.raises(RegistryError, match=f"{tmp_path}/registry cannot be used: Permission denied"):
        store.put_release(a_release())


def test_a_file_in_its_place_is_named(store: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("")
    with pytest.raises(RegistryError, match="cannot be used"):
        store.put_release(a_release())


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://bucket/models", "needs the package s3fs: pip install s3fs"),
        ("gs://bucket", "needs the package gcsfs: pip install gcsfs"),
        ("abfs://container", "needs the package adlfs: pip install adlfs"),
        ("sftp://user:secret@host/x", "cannot be at sftp://…@host/x: use a folder, or"),
        ("https://host/x", "cannot be at"),
        ("simplecache::s3://bucket", "cannot be at"),
        ("what://ever", "cannot be at"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_in_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        open_registry(url)
    assert "secret" not in str(told.value)
