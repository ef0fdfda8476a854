"""The models on this machine for a measurement, each loaded as a worker loads it."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from ...errors import ModelError, UsageError
from ...graphs.devices import ANY, CPU
from ...home import expanded
from ...models.manifest import ENCODER, Manifest
from ...models.metrics import CLASSIFY, FITTED, TRANSLATE, ZERO_SHOT
from ...models.registry import ModelRegistry
from ...runtime.encoder import Encoder
from ...runtime.graph import NoGraph
from ...runtime.sessions import Session
from ...runtime.tokenizer import Tokenizer
from ...tasks.classify.definition import ClassifyDefinition
from ...tasks.classify.settings import ClassifySettings
from ...tasks.definition import Loaded
from ...tasks.loading import made_model, made_task
from ...tasks.pooling import Tokenizes, embed
from ...tasks.translate.loading import load_translate
from ...tasks.translate.settings import TranslateSettings
from ...tasks.triage.classifier import Classifier, Destinations, routing_of
from ...tasks.triage.definition import TRIAGE
from ...tasks.triage.head import HEAD_FILE, Head, HeadStore
from ...tasks.triage.loading import load_triage
from ...tasks.triage.settings import TriageSettings
from ...tasks.triage.task import Triage
from ...tasks.triage.taxonomy import load_taxonomy
from ...tasks.triage.ticket_task import NONE
from ..triage.labeled import Labeled
from ..triage.regression import fitted_classifier
from ..triage.report import Progress, embed_with, indices_of
from .served_model import ServedModel


def fitted_encoder(
    manifest: Manifest,
    known: Labeled,
    provider: str | None,
    progress: Progress,
    taxonomy: str | None = None,
) -> ServedModel:
    """An encoder with a head that is fitted on its own vectors of the ``known`` rows, as `triage fit` does it.

    ``taxonomy``: the file by which its answers are routed; without it the built-in one.
    """
    session = opened(manifest, provider)
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    labels = tuple(sorted(set(known.labels)))
    step = f"reading the rows to fit on with {manifest.name}"
    vectors = embed_with(known.texts, tokenizer, session, progress, step)
    classifier = fitted_classifier(vectors, indices_of(known.labels, labels), labels, progress)
    return _of_encoder(manifest, session, tokenizer, classifier, taxonomy=taxonomy)


def head_on_encoder(
    head: Head, known_as: str, registry: ModelRegistry, provider: str | None, taxonomy: str | None
) -> ServedModel:
    """A fitted head on its encoder, whatever other tiers the head has. Raises UnknownModel, ModelError."""
    manifest = registry.load(head.base, ENCODER)
    if manifest.digest != head.encoder_digest:
        raise ModelError(
            f"{known_as} was fitted on another build of {head.base} than the one here: fit it again."
        )
    session = opened(manifest, provider)
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    found = _of_encoder(manifest, session, tokenizer, head.classifier(), head.cleaning, taxonomy)
    return replace(found, name=known_as)


def zero_shot_encoder(
    registry: ModelRegistry, manifest: Manifest, taxonomy: str | None, provider: str | None
) -> ServedModel:
    """An encoder with the categories of a taxonomy."""
    loaded = load_triage(registry, manifest.name, TriageSettings(taxonomy=taxonomy))
    return _loaded(TRIAGE, loaded, manifest.name, ZERO_SHOT, provider)


def fitted_model(
    registry: ModelRegistry, name: str, provider: str | None, taxonomy: str | None = None
) -> ServedModel:
    """A fitted model, with all its tiers."""
    loaded = load_triage(registry, name, TriageSettings(model=name, taxonomy=taxonomy))
    heads = HeadStore(registry.root.parent)
    version = heads.current(name)
    files = tuple(heads.root / name / version / file for file in (HEAD_FILE, *heads.load(name).files))
    return _loaded(TRIAGE, loaded, name, FITTED, provider, version, files)


def classifier(registry: ModelRegistry, name: str, provider: str | None) -> ServedModel:
    """A model with labels of its own."""
    loaded = ClassifyDefinition().load(registry, name, ClassifySettings())
    return _loaded(CLASSIFY, loaded, name, CLASSIFY, provider)


def translator(registry: ModelRegistry, name: str, provider: str | None) -> ServedModel:
    """A translator."""
    loaded = load_translate(registry, name, TranslateSettings())
    return _loaded(TRANSLATE, loaded, name, TRANSLATE, provider)


BY_NAME: Final = {TRANSLATE: translator, CLASSIFY: classifier}
"""Makers of served models by the task, where a name is all that they need."""


def served_model(home: Path, task: str, name: str, provider: str, taxonomy: str | None = None) -> ServedModel:
    """The model that a process serves which is asked for this name. Raises UsageError for another task."""
    registry = ModelRegistry(home, judged=False)
    if task in BY_NAME:
        return BY_NAME[task](registry, name, provider)
    if task != TRIAGE:
        raise UsageError(f"The memory of {task} is not measured.")
    if HeadStore(home).has(name):
        return fitted_model(registry, name, provider, taxonomy)
    return zero_shot_encoder(registry, registry.load(name, ENCODER), taxonomy, provider)


def opened(manifest: Manifest, provider: str | None) -> Session:
    """The session that serves the variant, with the options of a worker."""
    return Session(manifest.graph_path, provider=provider, made_for=manifest.device or ANY)


def files_of(manifest: Manifest) -> tuple[Path, ...]:
    """What is read to serve a variant."""
    return tuple(Path(path) for path in manifest.digests)


def _loaded(
    task: str,
    loaded: Loaded,
    name: str,
    use: str,
    provider: str | None,
    version: str = "",
    files: tuple[Path, ...] = (),
) -> ServedModel:
    manifest = loaded.manifest
    if manifest is None:
        return ServedModel(name, version, use, made_task(task, loaded, NoGraph()), None, CPU, files)
    session = opened(manifest, provider)
    return ServedModel(
        name=name,
        version=version or manifest.version,
        use=use,
        task=made_task(task, loaded, session),
        model=made_model(task, loaded, session),
        provider=session.provider,
        files=(*files_of(manifest), *files),
    )


def _of_encoder(
    manifest: Manifest,
    session: Session,
    tokenizer: Tokenizes,
    classifier: Classifier,
    clean: str = NONE,
    taxonomy: str | None = None,
) -> ServedModel:
    routing = routing_of(
        classifier.labels,
        load_taxonomy(expanded(taxonomy, "--taxonomy") if taxonomy else None),
        Destinations(),
        manifest.dimensions,
        lambda phrases: embed(phrases, tokenizer, session),
    )
    return ServedModel(
        name=manifest.name,
        version=manifest.version,
        use=FITTED,
        task=Triage(manifest.name, tokenizer, manifest.digest, classifier, routing, clean),
        model=Encoder(session, manifest.pad_id),
        provider=session.provider,
        files=files_of(manifest),
    )
