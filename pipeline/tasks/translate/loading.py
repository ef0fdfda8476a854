"""Loads a model of the task `translate`."""

from dataclasses import dataclass, field
from pathlib import Path

from ...graphs.marian.shortlist import Shortlist
from ...graphs.marian.translator import KIND
from ...models.registry import ModelRegistry
from ...runtime.graph import Graph
from ...runtime.subwords import Subwords
from ...runtime.translator import Translator
from ..definition import Loaded
from .alignment import Aligner
from .glossary import read_glossary
from .settings import TranslateSettings
from .task import Translate


@dataclass(frozen=True)
class TranslatorOf:
    """Makes the `Translator` of a graph; equal for equal models, so that two names of one share a device."""

    shortlist_path: str
    shortlist: Shortlist = field(compare=False)

    def __call__(self, graph: Graph) -> Translator:
        return Translator(graph, self.shortlist)


def load_translate(registry: ModelRegistry, model_name: str, settings: TranslateSettings) -> Loaded:
    """A translator of the registry. Raises UnknownModel, ModelError, or UsageError for a model of another kind."""
    manifest = registry.load(model_name, KIND)
    subwords = Subwords(manifest.tokenizer_path)
    shortlist = Shortlist(manifest.shortlist_path)
    aligner = Aligner(subwords.encode, shortlist)
    terms = _terms(settings.glossary, manifest.pair) if settings.glossary else {}
    return Loaded(
        manifest,
        lambda graph: Translate(model_name, manifest, subwords, aligner, terms),
        TranslatorOf(manifest.shortlist_path, shortlist),
    )


def _terms(glossary: str, pair: str) -> dict[str, str]:
    source, _, target = pair.partition("-")
    return read_glossary(Path(glossary).expanduser(), source, target)
