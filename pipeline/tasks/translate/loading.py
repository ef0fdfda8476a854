"""Loads a model of the task `translate`."""

from dataclasses import dataclass, field
from pathlib import Path

from ...graphs.marian.shortlist import Shortlist
from ...graphs.marian.translator import KIND
from ...models.metrics import TRANSLATE
from ...models.registry import ModelRegistry
from ...models.releases.parts import ReleaseParts, parts_of_variant, path_of_setting
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
    manifest = registry.load(model_name, KIND, TRANSLATE)
    subwords = Subwords(manifest.tokenizer_path)
    shortlist = Shortlist(manifest.shortlist_path)
    aligner = Aligner(subwords.encode, shortlist)
    glossary = _glossary_file(registry, settings)
    terms = _terms(glossary, manifest.pair) if glossary else {}
    return Loaded(
        manifest,
        lambda graph: Translate(model_name, manifest, subwords, aligner, terms),
        TranslatorOf(manifest.shortlist_path, shortlist),
    )


def translate_parts(registry: ModelRegistry, model_name: str, settings: TranslateSettings) -> ReleaseParts:
    """The files of a translator, and the glossary of the settings. Raises as `load_translate`."""
    parts = parts_of_variant(registry, registry.load(model_name, KIND), TRANSLATE)
    glossary = _glossary_file(registry, settings)
    if glossary is None:
        return parts
    return parts._replace(files={**parts.files, path_of_setting("translate", "glossary", glossary): glossary})


def _glossary_file(registry: ModelRegistry, settings: TranslateSettings) -> Path | None:
    """The glossary that the registry brings, if it is a release, else that of the settings."""
    if released := registry.setting_file("translate", "glossary"):
        return released
    return Path(settings.glossary).expanduser() if settings.glossary else None


def _terms(glossary: Path, pair: str) -> dict[str, str]:
    source, _, target = pair.partition("-")
    return read_glossary(glossary, source, target)
