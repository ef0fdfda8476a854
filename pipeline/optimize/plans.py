"""The plan of a pull, from the catalogue or from a folder of the user."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from ..errors import UsageError
from ..graphs.bert.float32 import KIND, Pooling, read_config
from ..models.catalogue import PinnedFile, Published
from ..models.files import sha256_of

Settings = TypeVar("Settings", bound=Struct)
FILES = ("config.json", "tokenizer.json", "model.safetensors")


class PullPlan(Struct, frozen=True):
    """Everything that decides which variants a pull builds."""

    base: str
    kind: str
    revision: str
    files: Sequence[PinnedFile]
    max_tokens: int
    pooling: Pooling

    def digest_of(self, name: str) -> str:
        """The digest that the file called ``name`` must have."""
        return next(file.sha256 for file in self.files if file.name == name)


class _SentenceLimit(Struct):
    max_seq_length: int | None = None


class _PoolingModes(Struct):
    pooling_mode_mean_tokens: bool = True
    pooling_mode_cls_token: bool = False


def published_plan(model: Published) -> PullPlan:
    """The plan for a model of the catalogue."""
    return PullPlan(model.name, model.kind, model.revision, model.files, model.max_tokens, model.pooling)


def folder_plan(base: str, folder: Path) -> PullPlan:
    """The plan for a folder with the hub's layout. Raises UsageError for a missing file or an unknown setting."""
    for name in FILES:
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder} has no {name}; give a folder that has the model's files as on the hub."
            )
    config = read_config(folder / "config.json")
    limit = _read(folder / "sentence_bert_config.json", _SentenceLimit).max_seq_length
    max_tokens = min(limit or config.max_position_embeddings, config.max_position_embeddings)
    files = [_pinned(folder / name) for name in FILES]
    return PullPlan(base, KIND, "local", files, max_tokens, _pooling(folder / "1_Pooling" / "config.json"))


def _pooling(path: Path) -> Pooling:
    modes = _read(path, _PoolingModes)
    if modes.pooling_mode_cls_token == modes.pooling_mode_mean_tokens:
        raise UsageError(
            f"{path} asks for a pooling that cannot be built; use the mean of the tokens, or the first."
        )
    return "cls" if modes.pooling_mode_cls_token else "mean"


def _read(path: Path, kind: type[Settings]) -> Settings:
    """The settings in ``path``, or the defaults if the file does not exist."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else kind()
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} does not have the hub's format: {error}.") from error


def _pinned(path: Path) -> PinnedFile:
    return PinnedFile(path.name, sha256_of(path), path.stat().st_size)
