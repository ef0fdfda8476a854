"""Loads a triage model by name: the name of an encoder means zero-shot, that of a fitted model means its head."""

from dataclasses import replace
from pathlib import Path

from ...errors import ModelError, UnknownModel, UsageError
from ...home import expanded
from ...models.catalogue import PUBLISHED
from ...models.manifest import ENCODER, Manifest
from ...models.registry import ModelRegistry, split_name
from ...runtime.graph import Graph
from ...runtime.tokenizer import Tokenizer
from ..definition import Loaded
from .classifier import Classifier, Destinations, Routing, routing_of
from .head import ENCODER_TIER, Head, HeadStore
from .settings import TriageSettings
from .task import NONE, Triage
from .taxonomy import load_taxonomy
from .zero_shot import zero_shot


def load_triage(registry: ModelRegistry, name: str, config: TriageSettings) -> Loaded:
    """The manifest of the encoder, and a function that builds the task from a session of that
    encoder.

    Raises UnknownModel, ModelError for a damaged model or one fitted on another encoder, UsageError
    for a wrong taxonomy or threshold.
    """
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise UsageError(f"The triage threshold must lie between 0 and 1, not {config.threshold}.")
    model = TriageModel(
        registry, name, expanded(config.taxonomy, "triage.taxonomy") if config.taxonomy else None
    )

    def make(session: Graph) -> Triage:
        classifier = model.classifier(session)
        routing = model.routing(session, classifier)
        if config.threshold is not None:
            routing = replace(routing, threshold=config.threshold)
        return Triage(name, model.tokenizer, model.manifest.digest, classifier, routing, model.clean)

    return Loaded(model.manifest, make)


class TriageModel:
    """The parts of a triage model: encoder, tokenizer, classifier and routing."""

    def __init__(self, registry: ModelRegistry, name: str, taxonomy: Path | None) -> None:
        """Raises UnknownModel, ModelError, UsageError for a wrong taxonomy."""
        self._taxonomy = load_taxonomy(taxonomy)
        heads = HeadStore(registry.root.parent)
        self._head = heads.load(name) if heads.has(name) else None
        if self._head and self._head.served != ENCODER_TIER:
            raise ModelError(f"{name} is served by {self._head.served!r}, which this release does not serve.")
        self.manifest = _encoder(registry, name, self._head, heads)
        self.tokenizer = Tokenizer(
            self.manifest.tokenizer_path, self.manifest.max_tokens, self.manifest.pad_id
        )

    @property
    def clean(self) -> str:
        """How texts are cleaned where the request does not say it: as for the fit."""
        return self._head.cleaning if self._head else NONE

    def classifier(self, session: Graph) -> Classifier:
        """The classifier of the fitted head; for an encoder's name, a zero-shot one from the taxonomy."""
        if self._head:
            return self._head.classifier()
        return zero_shot(self._taxonomy, self.tokenizer, session)

    def routing(self, session: Graph, classifier: Classifier) -> Routing:
        """The routing of the classifier's labels. Raises UsageError."""
        fallback = self._head.destinations if self._head else Destinations()
        return routing_of(classifier, self._taxonomy, self.tokenizer, session, fallback)


def _encoder(registry: ModelRegistry, name: str, head: Head | None, heads: HeadStore) -> Manifest:
    """The manifest of a model's encoder. Raises ModelError if the head was fitted on another build of it."""
    if head is None:
        try:
            return registry.load(name, ENCODER)
        except UnknownModel as error:
            fitted = ", ".join(heads.names())
            raise UnknownModel(f"{error} Fitted models: {fitted}." if fitted else str(error)) from error
    manifest = registry.load(head.base, ENCODER)
    if manifest.digest != head.encoder_digest:
        raise ModelError(
            f"{name} was fitted on another build of {head.base} than the one here; "
            f"run `inferstream triage fit DATA.csv --name {name} --base {head.base}` again."
        )
    return manifest


def refuse_encoder_name(registry: ModelRegistry, name: str) -> None:
    """Raises UsageError for the name of a model that a fitted model of that name would hide."""
    taken = {split_name(manifest.name)[0] for manifest in registry.list()} | set(PUBLISHED)
    if split_name(name)[0] in taken:
        raise UsageError(f"{name!r} is the name of another model; choose another for the fitted one.")
