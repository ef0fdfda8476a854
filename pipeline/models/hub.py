"""Models on the hub by their id: what files one has, and their digests."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from ..errors import ModelError, UsageError
from .catalogue import PinnedFile
from .fetching import Downloader
from .http import Corrupted, Unreachable

HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
NOT_IN_A_NAME = re.compile(r"[^a-z0-9._]+")


class HubId(Struct, frozen=True):
    """A model on the hub: ORG/NAME, and a branch, a tag or a commit."""

    repository: str
    revision: str

    @property
    def model_name(self) -> str:
        """The name that the model gets here: NAME in small letters."""
        return NOT_IN_A_NAME.sub("-", self.repository.rpartition("/")[2].lower()).strip("-")

    @property
    def is_commit(self) -> bool:
        """Whether the revision names the same files for ever."""
        return COMMIT.fullmatch(self.revision) is not None


class _Lfs(Struct):
    sha256: str
    size: int


class _Sibling(Struct):
    rfilename: str
    size: int | None = None
    blob_id: str | None = msgspec.field(default=None, name="blobId")
    lfs: _Lfs | None = None


class _ModelInfo(Struct):
    sha: str
    siblings: list[_Sibling]


class HubListing:
    """The files of a model at one commit, and their digests as the hub tells them."""

    def __init__(self, repository: str, info: _ModelInfo, downloader: Downloader) -> None:
        self.repository = repository
        self.commit = info.sha
        self._files = {file.rfilename: file for file in info.siblings}
        self._downloader = downloader

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._files)

    def pinned(self, name: str) -> PinnedFile:
        """A large file with its digest. Raises UsageError if the model lacks it, ModelError without a digest."""
        file = self._files.get(name)
        if file is None:
            raise UsageError(
                f"{self.repository} has no {name} at {self.commit[:12]}; only models that have it are supported."
            )
        if file.lfs is None:
            raise ModelError(f"The hub does not tell the digest of {name} in {self.repository}.")
        return PinnedFile(name, file.lfs.sha256, file.lfs.size)

    def fetch_small(self, name: str, target: Path) -> None:
        """Put a small file at ``target``. Raises Unreachable or Corrupted."""
        from huggingface_hub import constants, hf_hub_url

        url = hf_hub_url(self.repository, name, revision=self.commit, endpoint=constants.ENDPOINT)
        try:
            content = self._downloader.get(url, _authorization())
        except httpx.HTTPStatusError as error:
            raise _refused(self.repository, error) from error
        if not _is_the_blob(content, self._files[name]):
            raise Corrupted(f"{name} from the hub ({self.repository}) has another digest than the hub tells.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def parse_hub_id(text: str) -> HubId | None:
    """The model that ORG/NAME or ORG/NAME@REVISION names; None for another text."""
    found = HUB_ID.fullmatch(text)
    return HubId(found["repository"], found["revision"] or "main") if found else None


def list_files(wanted: HubId, downloader: Downloader) -> HubListing:
    """Ask the hub for the files of a model. Raises Unreachable or ModelError with what it says."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise Unreachable("The hub is switched off by HF_HUB_OFFLINE.")
    revision = quote(wanted.revision, safe="")
    url = f"{constants.ENDPOINT}/api/models/{wanted.repository}/revision/{revision}?blobs=true"
    try:
        content = downloader.get(url, _authorization())
        return HubListing(wanted.repository, msgspec.json.decode(content, type=_ModelInfo), downloader)
    except httpx.HTTPStatusError as error:
        raise _refused(f"{wanted.repository} at {wanted.revision!r}", error) from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{constants.ENDPOINT} does not answer like a model hub ({error}).") from error


def _authorization() -> Mapping[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _refused(what: str, error: httpx.HTTPStatusError) -> ModelError:
    status = error.response.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return ModelError(
            f"The hub does not show {what} (status {status}): check the name, and for a private or gated model set "
            "HF_TOKEN and accept its terms on its page."
        )
    if status == httpx.codes.NOT_FOUND:
        return ModelError(f"The hub has no {what} (status 404): check the name and the revision.")
    return Unreachable(f"The hub did not send {what} (status {status}); try again later.")


def _is_the_blob(content: bytes, file: _Sibling) -> bool:
    """Whether ``content`` has the digest that the hub tells: of git for a small file, SHA-256 for a large one."""
    if file.lfs is not None:
        return hashlib.sha256(content).hexdigest() == file.lfs.sha256
    if file.blob_id is None:
        return file.size is None or file.size == len(content)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return git.hexdigest() == file.blob_id
