"""Loads a model of the task `translate`."""

from dataclasses import dataclass

from ...graphs.marian.shortlist import Shortlist
from ...graphs.marian.translator import KIND
from ...models.registry import ModelRegistry
from ...runtime.graph import Graph
from ...runtime.subwords import Subwords
from ...runtime.translator import Translator
from ..definition import Loaded
from .task import Translate


@dataclass(frozen=True)
class TranslatorOf:
    """Makes the `Translator` of a graph; equal for equal models, so that two names of one share a device."""

    shortlist_path: str

    def __call__(self, graph: Graph) -> Translator:
        return Translator(graph, Shortlist(self.shortlist_path))


def load_translate(registry: ModelRegistry, model_name: str) -> Loaded:
    """A translator of the registry. Raises UnknownModel, ModelError, or UsageError for a model of another kind."""
    manifest = registry.load(model_name, KIND)
    subwords = Subwords(manifest.tokenizer_path)
    return Loaded(
        manifest,
        lambda graph: Translate(model_name, manifest, subwords),
        TranslatorOf(manifest.shortlist_path),
    )
