"""The plan of a pull: from the catalogue, from a folder of the user, or from a model on the hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ..errors import UsageError
from ..graphs.bert.files import BYTE_ORDER_MARK, read_config
from ..graphs.bert.float32 import CLASSIFIER, KIND, Pooling
from ..graphs.bert.labels import Labels
from ..models.catalogue import PinnedFile, Published
from .settings import read_settings

WEIGHTS = "model.safetensors"
FILES = ("config.json", "tokenizer.json", WEIGHTS)


class PullPlan(Struct, frozen=True):
    """Everything that decides which variants a pull builds."""

    base: str
    kind: str
    revision: str
    files: Sequence[PinnedFile]
    max_tokens: int
    pooling: Pooling
    notes: tuple[str, ...] = ()
    labels: Labels | None = None  # of a classifier

    def digest_of(self, name: str) -> str:
        """The digest that the file called ``name`` must have."""
        return next(file.sha256 for file in self.files if file.name == name)


def published_plan(model: Published) -> PullPlan:
    """The plan for a model of the catalogue."""
    return PullPlan(model.name, model.kind, model.revision, model.files, model.max_tokens, model.pooling)


def folder_plan(
    base: str, folder: Path, revision: str = "local", elsewhere: Mapping[str, PinnedFile] | None = None
) -> PullPlan:
    """The plan for a folder with the hub's layout; files of ``elsewhere`` need not be in it.

    Raises UsageError for a missing file, or with the name of a setting that is not supported.
    """
    pinned = dict(elsewhere or {})
    for name in FILES:
        if name not in pinned and not (folder / name).is_file():
            raise UsageError(f"{folder} has no {name}; a model needs {', '.join(FILES)}, as on the hub.")
    config = read_config(folder / "config.json")
    settings = read_settings(folder, config)
    _check_vocabulary(folder / "tokenizer.json", config.vocab_size)
    files = [pinned[name] if name in pinned else PinnedFile.of(folder / name) for name in FILES]
    return PullPlan(
        base=base,
        kind=CLASSIFIER if settings.labels else KIND,
        revision=revision,
        files=files,
        max_tokens=settings.max_tokens,
        pooling=settings.pooling,
        notes=settings.notes,
        labels=settings.labels,
    )


class _Token(Struct):
    id: int


class _Vocabulary(Struct):
    vocab: dict[str, int] | list[tuple[str, float]]  # a list with a score for each token: Unigram

    @property
    def largest(self) -> int:
        return max(self.vocab.values(), default=0) if isinstance(self.vocab, dict) else len(self.vocab) - 1


class _Tokenizer(Struct):
    model: _Vocabulary
    added_tokens: list[_Token] = msgspec.field(default_factory=list)


def _check_vocabulary(path: Path, rows: int) -> None:
    """Raise UsageError if the tokenizer can give a token that the model's table does not have."""
    try:
        found = msgspec.json.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK), type=_Tokenizer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not the tokenizer of a BERT encoder: {error}.") from error
    largest = max(found.model.largest, *(token.id for token in found.added_tokens), 0)
    if largest >= rows:
        raise UsageError(f"{path} has the token {largest}, and config.json has vocab_size = {rows}.")
