"""The plan of a pull: from the catalogue, from a folder of the user, or from a model on the hub."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec
from msgspec import Struct

from ...errors import UsageError
from ...graphs.bert.files import BYTE_ORDER_MARK, read_config
from ...graphs.bert.float32 import CLASSIFIER, KIND, BertConfig, Pooling
from ...graphs.bert.labels import Labels
from ...models.catalogue import PinnedFile, Published
from .encoder_settings import read_settings
from .imported.config import ImportedConfig, read_imported_config
from .imported.torch_export import can_export

WEIGHTS = "model.safetensors"
SMALL = ("config.json", "tokenizer.json")
FILES = (*SMALL, WEIGHTS)
GRAPH = "onnx/model.onnx"
GRAPH_DATA = "onnx/model.onnx_data"
"""A graph that a model brings, and the file with its arrays where they are too many for one: as Optimum writes them."""
PICKLED = "pytorch_model.bin"
LARGE = (WEIGHTS, GRAPH, GRAPH_DATA)
"""Files of a model on the hub that are fetched when the plan is made."""
EXPORTED = "torch"


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
    weights: str = WEIGHTS  # the file that has them
    graph_from: str = ""  # see `Manifest.graph_from`

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
    found = {name for name in (*FILES, GRAPH, GRAPH_DATA) if name in pinned or (folder / name).is_file()}
    _check_present(folder, found)
    config, weights, graph_from = _route(folder, found)
    settings = read_settings(folder, config)
    if config.vocab_size is not None:
        _check_vocabulary(folder / "tokenizer.json", config.vocab_size)
    names = [*SMALL, weights, *([GRAPH_DATA] if weights == GRAPH and GRAPH_DATA in found else [])]
    return PullPlan(
        base=base,
        kind=CLASSIFIER if settings.labels else KIND,
        revision=revision,
        files=[pinned[name] if name in pinned else pinned_file(folder, name) for name in names],
        max_tokens=settings.max_tokens,
        pooling=settings.pooling,
        notes=settings.notes,
        labels=settings.labels,
        weights=weights,
        graph_from=graph_from,
    )


def pinned_file(folder: Path, name: str) -> PinnedFile:
    """A file as it is now, by its path in the folder."""
    return msgspec.structs.replace(PinnedFile.of(folder / name), name=name)


def _check_present(folder: Path, found: AbstractSet[str]) -> None:
    """Raise UsageError with what is missing, or with what is there instead."""
    if GRAPH not in found and WEIGHTS not in found and (folder / PICKLED).exists():
        raise UsageError(
            f"{folder} has its weights as {PICKLED}, which can run any program when it is read: use a model with "
            f"{WEIGHTS} or {GRAPH}, or convert it at your risk by --from FOLDER --weights-may-run-code."
        )
    for name in FILES:
        if name not in found and (name != WEIGHTS or GRAPH not in found):
            raise UsageError(
                f"{folder} has no {name}; a model needs {', '.join(FILES)}, as on the hub, or {GRAPH} instead of its "
                "weights."
            )


def _route(folder: Path, found: AbstractSet[str]) -> tuple[BertConfig | ImportedConfig, str, str]:
    """How the graph comes to be: built from the weights, the one that the model brings, or exported by torch."""
    path = folder / "config.json"
    try:
        config = read_config(path)
        if WEIGHTS in found:
            return config, WEIGHTS, ""
    except UsageError as error:
        if GRAPH not in found:
            if can_export():
                return read_imported_config(path), WEIGHTS, EXPORTED
            raise UsageError(
                f"{str(error).rstrip('.')}; other models need {GRAPH}, or the extra `optimize`, by which torch exports "
                "one."
            ) from error
    return read_imported_config(path), GRAPH, GRAPH


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
