"""What a registry promises, wherever it is kept."""

from pathlib import Path

import pytest

from inferstream.pipeline.models.releases.alias import Change, promoted
from inferstream.pipeline.models.releases.faults import (
    AliasChanged,
    BadRelease,
    RegistryError,
    UnknownRelease,
)
from inferstream.pipeline.models.releases.registry.layout import alias_path, object_path, release_path
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.release import StoredFile
from support.releases import FILES, a_release, put_objects, stored

A, B = "a" * 12, "b" * 12


def change(by: str = "a test") -> Change:
    return Change(at="2026-01-01T00:00:00Z", by=by)


class RegistryContract:
    """A subclass has a fixture `store`."""

    def test_an_object_is_what_was_put(self, store: ReleaseStore, tmp_path: Path) -> None:
        content = b"content" * 1_000
        file = stored(content)
        assert not store.has_object(file)
        put_objects(store, {"x": content}, tmp_path)
        put_objects(store, {"x": content}, tmp_path)
        assert store.has_object(file)
        assert store.has_object(file, verified=True)
        assert not store.has_object(StoredFile(file.sha256, file.size_bytes + 1))
        store.fetch_object(file, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == content

    def test_an_empty_file_is_an_object(self, store: ReleaseStore, tmp_path: Path) -> None:
        put_objects(store, {"x": b""}, tmp_path)
        assert store.has_object(stored(b""))
        store.fetch_object(stored(b""), tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == b""

    def test_an_object_that_is_missing_is_named(self, store: ReleaseStore, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="lacks the object"):
            store.fetch_object(stored(b"?"), tmp_path / "fetched")

    def test_a_file_that_changed_is_not_published(self, store: ReleaseStore, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"other")
        with pytest.raises(RegistryError, match="changed while it was read"):
            store.put_object(stored(b"those"), source)
        assert not store.has_object(stored(b"those"))

    def test_no_more_of_an_object_is_fetched_than_its_size(self, store: ReleaseStore, tmp_path: Path) -> None:
        content = b"x" * 3_000_000
        put_objects(store, {"x": content}, tmp_path)
        store.fetch_object(StoredFile(stored(content).sha256, 1_000_000), tmp_path / "fetched")
        assert 1_000_000 < (tmp_path / "fetched").stat().st_size < 1_100_000

    def test_a_release_is_what_was_put(self, store: ReleaseStore) -> None:
        release = a_release()
        assert store.tasks() == []
        assert store.versions("triage") == []
        assert store.put_release(release)
        assert not store.put_release(release), "it is there"
        assert store.release("triage", release.version) == release
        assert store.tasks() == ["triage"]
        assert store.versions("triage") == [release.version]

    def test_a_release_that_is_there_stays_as_it_is(self, store: ReleaseStore) -> None:
        first, second = a_release(source="a test"), a_release(source="another")
        assert first.version == second.version
        store.put_release(first)
        store.put_release(second)
        assert store.release("triage", first.version) == first

    def test_a_release_that_is_missing_is_named(self, store: ReleaseStore) -> None:
        with pytest.raises(UnknownRelease, match=f"has no release triage@{A}"):
            store.release("triage", A)
        with pytest.raises(UnknownRelease, match="not the name of a version"):
            store.release("../../etc", A)

    def test_a_manifest_is_that_of_its_version(self, store: ReleaseStore) -> None:
        release = a_release()
        store.put_release(release)
        content = store.storage.read(release_path("triage", release.version), 1_000_000)
        store.storage.create(release_path("triage", A), content)
        with pytest.raises(BadRelease, match=f"triage@{A} must not be used: its content has the version"):
            store.release("triage", A)

    def test_a_manifest_has_a_limit(self, store: ReleaseStore) -> None:
        store.storage.create(release_path("triage", A), b" " * 5_000_000)
        with pytest.raises(BadRelease, match="too large"):
            store.release("triage", A)

    def test_an_alias_is_its_last_state(self, store: ReleaseStore) -> None:
        first = promoted(None, A, change())
        second = promoted(first, B, change())
        store.put_alias("triage", "prod", first)
        assert store.alias("triage", "prod") == first
        store.put_alias("triage", "prod", second)
        assert store.alias("triage", "prod") == second
        assert store.history("triage", "prod") == [first, second]
        assert store.aliases("triage") == ["prod"]

    def test_an_alias_that_is_missing_is_named(self, store: ReleaseStore) -> None:
        with pytest.raises(UnknownRelease, match="none yet"):
            store.alias("triage", "prod")
        store.put_release(a_release())
        store.put_alias("triage", "prod", promoted(None, A, change()))
        with pytest.raises(UnknownRelease, match="did you mean 'triage@prod'"):
            store.alias("triage", "prd")
        with pytest.raises(UnknownRelease, match="there is: triage@prod"):
            store.alias("embed", "live")

    def test_a_number_has_one_state(self, store: ReleaseStore) -> None:
        first = promoted(None, A, change())
        store.put_alias("triage", "prod", first)
        with pytest.raises(AliasChanged, match="was faster"):
            store.put_alias("triage", "prod", promoted(None, B, change()))
        store.put_alias("triage", "prod", promoted(first, B, change()))
        with pytest.raises(AliasChanged, match="was faster"):
            store.put_alias("triage", "prod", promoted(None, B, change()))
        assert store.alias("triage", "prod").number == 2

    def test_a_state_that_is_damaged_is_not_passed_over(self, store: ReleaseStore) -> None:
        first = promoted(None, A, change())
        store.put_alias("triage", "prod", first)
        store.storage.create(alias_path("triage", "prod", 2), b'{"format": 1')
        with pytest.raises(BadRelease, match="State 2 of triage@prod is damaged"):
            store.alias("triage", "prod")

    def test_a_state_that_was_never_written_is_passed_over(self, store: ReleaseStore) -> None:
        first = promoted(None, A, change())
        store.put_alias("triage", "prod", first)
        store.storage.create(alias_path("triage", "prod", 2), b"")
        assert store.alias("triage", "prod") == first
        store.storage.create(alias_path("triage", "live", 1), b"")
        assert store.aliases("triage") == ["prod"]
        with pytest.raises(UnknownRelease, match="did you mean"):
            store.alias("triage", "live")

    def test_files_are_listed_moved_and_removed(self, store: ReleaseStore, tmp_path: Path) -> None:
        put_objects(store, FILES, tmp_path)
        paths = sorted(object_path(stored(content).sha256) for content in FILES.values())
        assert sorted(file.path for file in store.storage.files("objects")) == paths
        assert sorted(store.storage.names("objects/sha256")) == sorted({path.split("/")[2] for path in paths})
        assert list(store.storage.files("nothing")) == []
        assert store.storage.names("nothing") == []
        store.storage.move(paths[0], "trash/one")
        assert store.storage.stat(paths[0]) is None
        moved = store.storage.stat("trash/one")
        assert moved is not None
        assert moved.modified > 0
        with pytest.raises(FileNotFoundError):
            store.storage.move(paths[0], "trash/one")
        store.storage.remove("trash/one")
        store.storage.remove("trash/one")
        assert store.storage.stat("trash/one") is None
