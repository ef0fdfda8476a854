"""What the model of a recipe is, read before anything is pulled: it decides which steps there are for it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec

from ...errors import InferstreamError, UnknownModel, UsageError
from ...graphs.bert.files import read_config
from ...graphs.bert.labels import is_classifier
from ...graphs.llama.decoder import KIND as DECODER
from ...graphs.llama.hub_model import INDEX
from ...graphs.marian.translator import KIND as TRANSLATOR
from ...models.catalogue import CATALOGUE, DECODERS, TRANSLATORS
from ...models.fetching import Downloader
from ...models.hub import HubId, list_files, parse_hub_id
from ...models.manifest import CLASSIFIER, ENCODER
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ..pull.decoders.files import is_generative
from ..pull.plans import EXPORTED, GRAPH, WEIGHTS
from .recipe import ModelPart

CONFIG: Final = "config.json"
KINDS: Final[Mapping[str, str]] = {
    ENCODER: "a sentence encoder",
    CLASSIFIER: "a classifier",
    TRANSLATOR: "a translator",
    DECODER: "a language model",
}
"""In words."""


class ModelFacts(NamedTuple):
    """The kind of a model, and where its graph comes from if it is not built here from weights."""

    kind: str = ENCODER
    graph_from: str = ""

    @property
    def is_of_texts(self) -> bool:
        """Whether its answers are texts, and not labels."""
        return self.kind in (TRANSLATOR, DECODER)


BUILT_ENCODER: Final = ModelFacts()


def facts_of(part: ModelPart, registry: ModelRegistry, progress: Progress) -> ModelFacts:
    """What the model is: from this machine, the catalogue, a folder, or the small files of the hub.

    Raises UnknownModel for a name that none of them has, UsageError, ModelError if the hub cannot be reached.
    """
    check_base(part)
    for one in registry.list():
        if one.name == f"{part.name}-fp32":
            return ModelFacts(one.kind, one.graph_from)
    source = part.source
    if source is None:
        return _published(part.name)
    if (folder := Path(source)).is_dir():
        names = {name for name in (WEIGHTS, INDEX, GRAPH) if (folder / name).is_file()}
        return _by_files(folder, names)
    hub_id = parse_hub_id(source)
    if hub_id is None:
        raise UsageError(f"`from` of the model is {source!r}: neither a folder nor ORG/NAME of the hub.")
    return _on_the_hub(hub_id, progress)


def check_base(part: ModelPart) -> None:
    """Raise UsageError for the name of one variant."""
    base, precision = split_name(part.name)
    if precision:
        raise UsageError(f"{part.name} names one variant: name the model of the recipe without it, {base}.")


def _published(name: str) -> ModelFacts:
    if name in TRANSLATORS:
        return ModelFacts(TRANSLATOR)
    if name in DECODERS:
        return ModelFacts(DECODER)
    if name in CATALOGUE:
        return ModelFacts(CATALOGUE[name].kind)
    raise UnknownModel(
        f"There is no model {name!r} on this machine: pull it first, or say where it is by `from` below [model]: a "
        "folder, or ORG/NAME of the hub."
    )


def _on_the_hub(wanted: HubId, progress: Progress) -> ModelFacts:
    with Downloader(progress) as downloader, TemporaryDirectory() as temporary:
        listing = list_files(wanted, downloader)
        if CONFIG in listing.names:
            listing.fetch_small(CONFIG, Path(temporary) / CONFIG)
        return _by_files(Path(temporary), listing.names)


def _by_files(folder: Path, names: Collection[str]) -> ModelFacts:
    """``names``: of the files of the model, which need not be in the folder. What is wrong is told by the pull."""
    if is_generative(folder):
        return ModelFacts(DECODER)
    try:
        found: dict[str, Any] = msgspec.json.decode((folder / CONFIG).read_bytes())
        kind = CLASSIFIER if is_classifier(found) else ENCODER
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return BUILT_ENCODER
    try:
        read_config(folder / CONFIG)
        if WEIGHTS in names or INDEX in names:
            return ModelFacts(kind)
    except InferstreamError:
        pass
    return ModelFacts(kind, GRAPH if GRAPH in names else EXPORTED)
