"""Garbage of a registry: what goes, and what stays whatever others do meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.releases import a_release, published, stored

from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.models.releases.faults import BadRelease
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.collecting import GRACE_S, Collector
from inferstream.pipeline.models.releases.registry.layout import alias_path, object_path, release_path
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.models.releases.registry.publishing import check_complete, publish_release
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.registry.trash import Trash
from inferstream.pipeline.models.releases.release import Release

PROD = ReleaseName("triage", alias="prod")
LATER = 4_000_000_000.0
"""When all is old."""


@pytest.fixture(autouse=True)
def not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine is switched off here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return open_registry(str(tmp_path / "registry"))


def collector(store: ReleaseStore, keep: int = 1, now: float = LATER) -> Collector:
    return Collector(store, keep=keep, clock=lambda: now)


@pytest.fixture
def put(store: ReleaseStore, tmp_path: Path) -> Callable[[int], Release]:
    def put_one(number: int) -> Release:
        shared = {"models/tiny/tokenizer.json": b"shared", "models/tiny/int8.onnx": b"graph %d" % number}
        return published(store, tmp_path, shared)

    return put_one


def promote(store: ReleaseStore, *releases: Release) -> None:
    for release in releases:
        Promoter(store).promote(PROD, release.version, change_now())


def test_only_what_no_alias_names_goes(store: ReleaseStore, put: Callable[[int], Release]) -> None:
    never, *promoted = (put(number) for number in range(5))
    promote(store, *promoted)
    collected = collector(store, keep=2).collect()
    assert collected.releases == tuple(sorted(f"triage@{one.version}" for one in (never, promoted[0])))
    assert (collected.objects, collected.size_bytes, collected.kept_releases) == (2, 14, 3)
    assert store.versions("triage") == sorted(one.version for one in promoted[1:])
    for release in promoted[1:]:
        check_complete(store, release)


def test_a_dry_run_changes_nothing(
    store: ReleaseStore, put: Callable[[int], Release], tmp_path: Path
) -> None:
    promote(store, *(put(number) for number in range(4)))
    before = sorted(tmp_path.rglob("*"))
    dry = collector(store).collect(dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert collector(store).collect() == dry


def test_what_is_young_stays(store: ReleaseStore, put: Callable[[int], Release], tmp_path: Path) -> None:
    release = put(1)
    found = store.storage.stat(release_path("triage", release.version))
    assert found is not None
    assert collector(store, now=found.modified + GRACE_S - 60).collect().releases == ()
    assert collector(store, now=found.modified + GRACE_S + 60).collect().releases == (
        f"triage@{release.version}",
    )


def test_a_candidate_and_the_version_before_stay(store: ReleaseStore, put: Callable[[int], Release]) -> None:
    first, second, third = (put(number) for number in range(3))
    promote(store, first, second)
    Promoter(store).promote(PROD, third.version, change_now(), Rollout("shadow", 0.1))
    assert collector(store).collect().releases == ()


def test_the_trash_is_emptied_by_a_later_collection(
    store: ReleaseStore, put: Callable[[int], Release]
) -> None:
    put(1)
    collector(store).collect()
    assert list(Trash(store.storage).files())
    collector(store).collect()
    assert list(Trash(store.storage).files()), "it is not old"
    collector(store, now=LATER + GRACE_S + 1).collect()
    assert not list(Trash(store.storage).files())


def test_a_history_that_cannot_be_read_stops_it(store: ReleaseStore, put: Callable[[int], Release]) -> None:
    promote(store, put(1))
    put(2)
    store.storage.create(alias_path("triage", "prod", 2), b"damaged")
    with pytest.raises(BadRelease, match="State 2 of triage@prod is damaged"):
        collector(store).collect()
    assert len(store.versions("triage")) == 2


def test_a_manifest_that_cannot_be_read_goes_when_nothing_names_it(
    store: ReleaseStore, put: Callable[[int], Release]
) -> None:
    promote(store, put(1))
    store.storage.create(release_path("triage", "a" * 12), b"damaged")
    assert collector(store).collect().releases == (f"triage@{'a' * 12}",)


def test_a_manifest_that_is_damaged_is_replaced_when_it_is_published_again(
    store: ReleaseStore, put: Callable[[int], Release]
) -> None:
    release = put(1)
    (Path(store.shown) / release_path("triage", release.version)).write_bytes(b"damaged")
    assert put(1) == store.release("triage", release.version)


def test_figures_of_rollouts_before_the_kept_states_go(
    store: ReleaseStore, put: Callable[[int], Release]
) -> None:
    promote(store, *(put(number) for number in range(6)))
    for number in (1, 2, 5, 6):
        store.storage.create(f"figures/triage/prod/{number:08}/worker.json", b"{}")
    store.storage.create("figures/triage/other/00000001/worker.json", b"{}")
    collector(store, keep=2).collect()
    left = sorted(file.path for file in store.storage.files("figures"))
    assert [path.split("/")[2:4] for path in left] == [
        ["other", "00000001"],
        ["prod", "00000005"],
        ["prod", "00000006"],
    ]


def test_the_last_figures_of_an_alias_stay(store: ReleaseStore, put: Callable[[int], Release]) -> None:
    promote(store, *(put(number) for number in range(6)))
    store.storage.create("figures/triage/prod/00000001/worker.json", b"{}")
    store.storage.create("figures/triage/prod/00000002/worker.json", b"{}")
    collector(store, keep=2).collect()
    assert [file.path for file in store.storage.files("figures")] == [
        "figures/triage/prod/00000002/worker.json"
    ]


class Interrupted:
    """A storage that does something else before one of its calls."""

    def __init__(self, storage: object, call: int, action: Callable[[], None]) -> None:
        self._storage = storage
        self._left = call
        self._action = action

    def __getattr__(self, name: str) -> object:
        value = getattr(self._storage, name)
        if not callable(value):
            return value

        def called(*arguments: object) -> object:
            self._left -= 1
            if self._left == 0:
                self._action()
            return value(*arguments)

        return called


@pytest.mark.parametrize("call", range(1, 40))
def test_what_is_promoted_while_it_runs_stays(call: int, tmp_path: Path) -> None:
    """A version that is to be removed is promoted before any of the collection's calls."""
    folder = tmp_path
    store = open_registry(str(folder / "registry"))
    old = published(store, folder, {"models/tiny/int8.onnx": b"old"})
    promote(store, published(store, folder, {"models/tiny/int8.onnx": b"new"}))
    interrupted = Interrupted(store.storage, call, lambda: promote(store, old))
    collector(ReleaseStore(interrupted)).collect()  # type: ignore[arg-type]
    state = store.alias("triage", "prod")
    check_complete(store, store.release("triage", state.stable))
    if state.stable == old.version:
        assert old.version in store.versions("triage"), "not only in the trash"


@pytest.mark.parametrize("call", range(1, 40))
def test_what_is_published_while_it_runs_stays(call: int, tmp_path: Path) -> None:
    """The objects are there, are old, and nothing names them until a publisher does, before any of the calls."""
    folder = tmp_path
    store = open_registry(str(folder / "registry"))
    files = {"models/tiny/int8.onnx": folder / "graph"}
    files["models/tiny/int8.onnx"].write_bytes(b"graph")
    release = a_release({"models/tiny/int8.onnx": b"graph"})
    store.put_object(stored(b"graph"), files["models/tiny/int8.onnx"])

    def publish() -> None:
        publish_release(store, release, files, lambda *_: None)
        promote(store, release)

    collector(ReleaseStore(Interrupted(store.storage, call, publish))).collect()  # type: ignore[arg-type]
    if "triage" in store.tasks_with_aliases():
        assert store.versions("triage") == [release.version]
        assert store.storage.stat(object_path(stored(b"graph").sha256)) is not None


@pytest.mark.parametrize("call", range(1, 40))
def test_what_is_removed_while_it_is_published_and_promoted_comes_back(call: int, tmp_path: Path) -> None:
    """The collection runs before any of the calls of a publisher who finds old objects that nothing names."""
    store = open_registry(str(tmp_path / "registry"))
    contents = {"models/tiny/int8.onnx": b"graph", "models/tiny/tokenizer.json": b"tokens"}
    files = {path: tmp_path / path.replace("/", "-") for path in contents}
    for path, content in contents.items():
        files[path].write_bytes(content)
        store.put_object(stored(content), files[path])
    release = a_release(contents)
    interrupted = ReleaseStore(Interrupted(store.storage, call, lambda: collector(store).collect() and None))  # type: ignore[arg-type]
    publish_release(interrupted, release, files, lambda *_: None)
    promote(interrupted, release)
    assert store.alias("triage", "prod").stable == release.version
    assert store.storage.stat(release_path("triage", release.version)) is not None, "not only in the trash"
    assert all(store.has_object(file) for file in release.files.values())
    assert collector(store).collect().releases == ()
    assert store.versions("triage") == [release.version]
