"""Loads a triage model by name: the name of an encoder means zero-shot, that of a fitted model means its head."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from msgspec import UNSET

from ...errors import ModelError, UnknownModel, UsageError, listed
from ...home import expanded
from ...models.catalogue import PUBLISHED
from ...models.judgements import check_gate, read_judgement
from ...models.manifest import ENCODER, Manifest
from ...models.metrics import FITTED, ZERO_SHOT
from ...models.registry import ModelRegistry, split_name
from ...runtime.graph import Graph
from ...runtime.tokenizer import Tokenizer
from ..definition import Loaded
from .cascade_task import CascadeTriage, Tiers
from .classifier import Classifier, Destinations, Routing, routing_of
from .ensemble_task import EnsembleTriage
from .head import CASCADE, ENCODER_TIER, ENSEMBLE, STATIC_TIER, TOKENIZER_FILE, Head, HeadStore, Serve
from .settings import TriageSettings
from .shared import Shared, TokenizerFile
from .static_task import StaticTriage
from .static_tier import StaticTier
from .stored_head import StoredHead, keep_linear, keep_tier
from .task import Triage
from .taxonomy import load_taxonomy
from .ticket_task import NONE
from .together import cascade_of
from .zero_shot import zero_shot


def load_triage(
    registry: ModelRegistry, name: str, config: TriageSettings, shared: Shared | None = None
) -> Loaded:
    """The manifest of the encoder, and a function that builds the task from a session of that
    encoder; no manifest if the model is served by its static tier. ``shared``: with other models of the process.

    Raises UnknownModel, ModelError for a damaged model, one fitted on another encoder, or one whose gate is closed,
    UsageError for a wrong taxonomy or threshold.
    """
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise UsageError(f"The triage threshold must lie between 0 and 1, not {config.threshold}.")
    shared = shared or Shared()
    shared.memory.max_bytes = config.fitted_bytes
    model = TriageModel(registry, name, taxonomy_file(registry, config), shared)
    stored = model.stored
    if model.head and model.served == CASCADE:
        cascade_of(model.head, model.taxonomy)  # before a session: `models promote` opens none

    def routing(found: Routing) -> Routing:
        return found if config.threshold is None else replace(found, threshold=config.threshold)

    def with_encoder(session: Graph) -> Triage:
        classifier = model.classifier(session)
        routed = routing(model.routing(session, classifier))
        if model.served == CASCADE:
            tiers = model.tiers()
            cascade = CascadeTriage(
                name, model.tokenizer, model.manifest.digest, tiers, routed, config.shadow
            )
            return keep_linear(keep_tier(cascade, stored, routed, shared), stored, routed, shared)
        if model.served == ENSEMBLE:
            head, tier = model.static()
            both = EnsembleTriage(name, model.tokenizer, model.manifest.digest, head, tier, routed)
            return keep_linear(keep_tier(both, stored, routed, shared), stored, routed, shared)
        task = Triage(name, model.tokenizer, model.manifest.digest, classifier, routed, model.clean)
        return keep_linear(task, stored, routed, shared)

    def without(_: Graph) -> StaticTriage:
        head, tier = model.static()
        routed = routing(model.static_routing(head, tier))
        return keep_tier(StaticTriage(name, model.tokenizer, tier, head, routed), stored, routed, shared)

    if model.served == STATIC_TIER:
        return Loaded(None, without)
    return Loaded(model.manifest, with_encoder)


def taxonomy_file(registry: ModelRegistry, config: TriageSettings) -> Path | None:
    """The taxonomy that the registry brings, if it is a release, else that of the settings; None: the built-in one."""
    if released := registry.setting_file("triage", "taxonomy"):
        return released
    return expanded(config.taxonomy, "triage.taxonomy") if config.taxonomy else None


class TriageModel:
    """The parts of a triage model: encoder, tokenizer, classifier or static tier, and routing.

    The encoder is looked for only if the model is served with it, or asked for it.
    """

    def __init__(
        self, registry: ModelRegistry, name: str, taxonomy: Path | None, shared: Shared | None = None
    ) -> None:
        """Raises UnknownModel, ModelError, UsageError for a wrong taxonomy."""
        self._shared = shared or Shared()
        self._registry = registry
        self._name = name
        self.taxonomy = load_taxonomy(taxonomy)
        self._heads = HeadStore(registry.root.parent)
        self.head = self._heads.load(name) if self._heads.has(name) else None
        judged = _judged(registry, name, self.head, self._heads)
        self._use = "" if judged else FITTED
        self.tokenizer = self._tokenizer()

    @property
    def stored(self) -> StoredHead | None:
        """Where the fitted model is; None for the name of an encoder."""
        return StoredHead(self._heads, self._name, self.head.version) if self.head else None

    @property
    def served(self) -> Serve:
        """Which tier answers."""
        return self.head.served if self.head else ENCODER_TIER

    @property
    def base(self) -> str:
        """The name of the encoder: of a fitted model, the one that it was fitted on."""
        return self.head.base if self.head else self.manifest.name

    @property
    def clean(self) -> str:
        """How texts are cleaned where the request does not say it: as for the fit."""
        return self.head.cleaning if self.head else NONE

    @cached_property
    def manifest(self) -> Manifest:
        """Of the encoder. Raises UnknownModel; ModelError if the head was fitted on another build of it."""
        return _encoder(self._registry, self._name, self.head, self._heads, self._use)

    def classifier(self, session: Graph) -> Classifier:
        """The classifier of the fitted head; for an encoder's name, a zero-shot one from the taxonomy."""
        if self.head:
            return self.head.classifier()
        return zero_shot(self.taxonomy, self.tokenizer, session)

    def routing(self, session: Graph, classifier: Classifier) -> Routing:
        """The routing of the classifier's labels. Raises UsageError."""
        return routing_of(
            classifier.labels,
            self.taxonomy,
            self.head.destinations if self.head else Destinations(),
            classifier.weights.shape[0],
            lambda phrases: self._shared.vectors(phrases, self.tokenizer, session),
        )

    def static(self) -> tuple[Head, StaticTier]:
        """The fitted head and its static tier. Raises ModelError if it has none, UsageError for an encoder."""
        if self.head is None:
            raise UsageError(f"{self._name} has no static tier: it is no fitted model.")
        return self.head, self._heads.static_tier(self._name, self.head)

    def tiers(self) -> Tiers:
        """What is fitted, if it has two tiers. Raises ModelError."""
        head, tier = self.static()
        return Tiers(head, tier, cascade_of(head, self.taxonomy))

    def static_routing(self, head: Head, tier: StaticTier) -> Routing:
        """The routing of the head's labels; its axis of urgency is of what the static tier makes of the phrases."""
        return routing_of(
            head.labels,
            self.taxonomy,
            head.destinations,
            head.dimensions,
            lambda phrases: tier.vectors(self.tokenizer.encode(phrases)),
        )

    def _tokenizer(self) -> Tokenizer:
        head = self.head
        if head and head.static is not UNSET and head.served == STATIC_TIER:
            path = self._heads.file(self._name, head, TOKENIZER_FILE)
            file = TokenizerFile(head.static.tokenizer_sha256, head.static.max_tokens, head.static.pad_id)
            return self._shared.tokenizer(path, file)
        manifest = self.manifest
        file = TokenizerFile(manifest.tokenizer_sha256, manifest.max_tokens, manifest.pad_id)
        return self._shared.tokenizer(manifest.tokenizer_path, file)


def _judged(registry: ModelRegistry, name: str, head: Head | None, heads: HeadStore) -> bool:
    """Whether a fitted model was measured itself. Raises ModelError if it did not pass its gate."""
    judgement = read_judgement(heads.root / name / head.version) if head and registry.judged else None
    check_gate(name, judgement.gate if judgement else None)
    return judgement is not None


def _encoder(registry: ModelRegistry, name: str, head: Head | None, heads: HeadStore, use: str) -> Manifest:
    """The manifest of a model's encoder. Raises ModelError if the head was fitted on another build of it.

    ``use``: of the encoder by a fitted model, if that was not measured itself.
    """
    if head is None:
        try:
            return registry.load(name, ENCODER, ZERO_SHOT)
        except UnknownModel as error:
            fitted = listed(heads.names())
            raise UnknownModel(f"{error} Fitted models: {fitted}." if fitted else str(error)) from error
    manifest = registry.load(head.base, ENCODER, use)
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
