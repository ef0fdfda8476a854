"""Changes of an alias: what is refused, and what is recorded."""

from pathlib import Path

import pytest
from support.releases import FILES, a_release, published, stored

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.models.releases.faults import (
    AliasChanged,
    BadRelease,
    RegistryError,
    UnknownRelease,
)
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.layout import object_path
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.models.releases.registry.publishing import publish_release
from inferstream.pipeline.models.releases.registry.store import ReleaseStore

PROD = ReleaseName("triage", alias="prod")
A, B = {"models/tiny/int8.json": b"a"}, {"models/tiny/int8.json": b"b"}


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return open_registry(str(tmp_path / "registry"))


def test_promote_try_finish_and_roll_back(store: ReleaseStore, tmp_path: Path) -> None:
    a, b = (published(store, tmp_path, files).version for files in (A, B))
    promoter = Promoter(store)
    assert promoter.promote(PROD, a, change_now("first")).stable == a
    assert promoter.promote(PROD, a, change_now()).number == 1, "nothing changes"
    tried = promoter.promote(PROD, b, change_now(), Rollout("canary", 0.2))
    assert (tried.stable, tried.candidate) == (a, b)
    assert promoter.finish(PROD, change_now()).stable == b
    assert promoter.roll_back(PROD, change_now("worse")).stable == a
    assert [state.reason for state in store.history("triage", "prod")] == ["first", "", "", "worse"]
    assert "@" in store.alias("triage", "prod").by


def test_what_must_not_be_served_is_refused(store: ReleaseStore, tmp_path: Path) -> None:
    closed = published(store, tmp_path, gate=Gate({"min_share": 0.97}, False, ("It kept 90 %.",)))
    with pytest.raises(BadRelease, match=r"its gate is closed \(It kept 90 %.\)"):
        Promoter(store).promote(PROD, closed.version, change_now())
    assert store.aliases("triage") == []
    files = dict.fromkeys(FILES, tmp_path / "x")
    with pytest.raises(BadRelease, match="was not measured"):
        publish_release(store, a_release(gate=None), files, lambda *_: None)


def test_what_is_not_complete_is_refused(store: ReleaseStore, tmp_path: Path) -> None:
    release = published(store, tmp_path, A)
    store.storage.remove(object_path(stored(b"a").sha256))
    with pytest.raises(RegistryError, match=r"lacks models/tiny/int8\.json of triage@"):
        Promoter(store).promote(PROD, release.version, change_now())
    with pytest.raises(UnknownRelease, match="has no release"):
        Promoter(store).promote(PROD, "0" * 12, change_now())
    assert store.aliases("triage") == []


def test_nothing_to_finish_or_to_return_to(store: ReleaseStore, tmp_path: Path) -> None:
    promoter = Promoter(store)
    with pytest.raises(UnknownRelease, match="none yet"):
        promoter.finish(PROD, change_now())
    promoter.promote(PROD, published(store, tmp_path, A).version, change_now())
    with pytest.raises(UsageError, match="no candidate on trial"):
        promoter.finish(PROD, change_now())
    with pytest.raises(UsageError, match="no version before"):
        promoter.roll_back(PROD, change_now())


def test_a_change_that_is_too_late_is_told(
    store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (published(store, tmp_path, files).version for files in (A, B))
    put = store.put_alias

    def late(task: str, alias: str, state: object) -> None:
        monkeypatch.setattr(store, "put_alias", put)
        Promoter(store).promote(PROD, a, change_now())
        put(task, alias, state)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put_alias", late)
    with pytest.raises(AliasChanged, match="was faster"):
        Promoter(store).promote(PROD, b, change_now())
    assert store.alias("triage", "prod").stable == a
