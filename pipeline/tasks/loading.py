"""A triage model by its name: an encoder's name means zero-shot, a fitted model's name means its head."""

from collections.abc import Callable
from pathlib import Path

from ..config import TriageConfig
from ..errors import ModelError, UnknownModel, UsageError
from ..runtime.manifest import Manifest
from ..runtime.registry import ModelRegistry
from ..runtime.tokenizer import Tokenizer
from .classifier import Destinations, routing_of
from .embedding import Runs
from .head import Head, HeadStore
from .taxonomy import Taxonomy, load_taxonomy
from .triage import Triage
from .zero_shot import zero_shot


def load_triage(
    registry: ModelRegistry, name: str, config: TriageConfig
) -> tuple[Manifest, Callable[[Runs], Triage]]:
    """The encoder that the model needs, and what makes the task once that encoder has a session.

    Raises UnknownModel, ModelError for a damaged model or one fitted on another encoder, UsageError for a wrong
    taxonomy or threshold.
    """
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise UsageError(f"The triage threshold must lie between 0 and 1, not {config.threshold}.")
    taxonomy = load_taxonomy(Path(config.taxonomy).expanduser() if config.taxonomy else None)
    heads = HeadStore(registry.root.parent)
    head = heads.load(name) if heads.has(name) else None
    manifest = _encoder(registry, name, head, heads)
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    return manifest, lambda session: make_triage(
        name, manifest, tokenizer, session, taxonomy, head=head, threshold=config.threshold
    )


def make_triage(
    name: str,
    manifest: Manifest,
    tokenizer: Tokenizer,
    session: Runs,
    taxonomy: Taxonomy,
    *,
    head: Head | None = None,
    threshold: float | None = None,
) -> Triage:
    """The task: with a fitted head, or zero-shot from the taxonomy without one."""
    classifier = head.classifier() if head else zero_shot(taxonomy, tokenizer, session)
    brought = head.destinations if head else Destinations()
    routing = routing_of(classifier, taxonomy, tokenizer, session, brought)
    return Triage(name, tokenizer, manifest.digest, classifier, routing, threshold)


def _encoder(registry: ModelRegistry, name: str, head: Head | None, heads: HeadStore) -> Manifest:
    """The encoder of a model. A head's must be the very one that its confidence was measured on."""
    if head is None:
        try:
            return registry.load(name)
        except UnknownModel as error:
            fitted = ", ".join(heads.names())
            raise UnknownModel(f"{error} Fitted models: {fitted}." if fitted else str(error)) from error
    manifest = registry.load(head.base)
    if manifest.digest != head.encoder_digest:
        raise ModelError(
            f"{name} was fitted on another build of {head.base} than the one here; "
            f"run `inferstream triage fit DATA.csv --name {name} --base {head.base}` again."
        )
    return manifest
