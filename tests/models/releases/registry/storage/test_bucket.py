"""A registry in a bucket: fsspec's own, in memory."""

import threading
import uuid
from typing import Any

import fsspec
import pytest
from support.registry_contract import RegistryContract
from support.releases import a_release

from inferstream.pipeline.models.releases.faults import RegistryError
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.storage.bucket_storage import BucketStorage
from inferstream.pipeline.models.releases.registry.store import ReleaseStore


@pytest.fixture
def store() -> ReleaseStore:
    return open_registry(f"memory://{uuid.uuid4().hex}")


class TestBucket(RegistryContract):
    pass


def test_a_store_that_replaces_what_must_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = BucketStorage(f"memory://{uuid.uuid4().hex}")
    pipe = storage._fs.pipe_file

    def ignoring(path: str, content: bytes, mode: str) -> Any:
        return pipe(path, content)

    monkeypatch.setattr(storage._fs, "pipe_file", ignoring)
    with pytest.raises(RegistryError, match="cannot keep two promoters apart"):
        ReleaseStore(storage).put_release(a_release())


def test_an_error_of_the_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentials(Exception):
        pass

    def refused(*_: object, **__: object) -> Any:
        raise NoCredentials("Unable to locate\n credentials")

    storage = BucketStorage("memory://b")
    monkeypatch.setattr(storage._fs, "ls", refused)
    with pytest.raises(
        RegistryError, match=r"memory://b cannot be used \(NoCredentials: Unable to locate credentials\)"
    ):
        ReleaseStore(storage).tasks()


def test_a_bucket_is_asked_for_no_sooner_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = threading.Event()

    def hanging(*_: object, **__: object) -> Any:
        answering.wait()
        raise OSError("no credentials")

    monkeypatch.setattr(fsspec.core, "url_to_fs", hanging)
    store = open_registry("memory://b", limit_s=0.05)
    with pytest.raises(RegistryError, match="has not answered in time"):
        store.tasks()
    answering.set()
