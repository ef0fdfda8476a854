"""`models evaluate` for translators and decoders."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from ...errors import UsageError
from ...graphs.llama.decoder import KIND as DECODER
from ...graphs.marian.translator import KIND as TRANSLATOR
from ...models.manifest import Manifest
from ...models.metrics import GENERATE, TRANSLATE, Evaluation, Judgement
from ...models.registry import ModelRegistry
from ..closeness.fidelity import compared
from ..machine.devices import served_by
from ..triage.report import Progress
from .figures.bootstrap import agreeing
from .figures.memory import MeasuredModel, with_memory
from .figures.translations import TranslatedTexts, evaluate_translators
from .gates import DEFAULTS, judge
from .keeping import keep_judgement, original_name
from .models import Asked
from .served_models import files_of, translator

MAX_TEXT_TOKENS = 256  # of a text for a decoder: its scores take 200 KB a token
MAX_TOKENS = 20_000  # of all texts


def evaluate_text_models(
    registry: ModelRegistry, asked: Asked, source: TranslatedTexts, progress: Progress
) -> dict[str, Judgement]:
    """Measure and judge translators or decoders of one pair or family, and keep the judgements with them.

    ``registry`` must not refuse closed gates. Raises UsageError, UnknownModel, ModelError.
    """
    manifests = [registry.load(name) for name in asked.names]
    originals = {registry.load(asked.original or original_name(one)).name for one in manifests}
    if len(originals) > 1:
        raise UsageError(f"{', '.join(asked.names)} have several originals: measure them one by one.")
    original = registry.load(originals.pop())
    if {one.kind for one in manifests} == {TRANSLATOR} and original.kind == TRANSLATOR:
        found = measured_translators(registry, [original, *manifests], asked, source, progress)
        use = TRANSLATE
    elif {one.kind for one in manifests} == {DECODER} and original.kind == DECODER:
        found = measured_decoders(original, manifests, source.texts, progress)
        use = GENERATE
    else:
        raise UsageError("Measure models of one kind at once: encoders, translators, or language models.")
    names = [one.name for one in manifests]
    thresholds = asked.thresholds or DEFAULTS[use]
    kept = {}
    for name, evaluation in found.items():
        force = asked.force and name in names
        gate = judge(evaluation, thresholds, force=force)
        evaluation = with_memory(MeasuredModel(registry.root.parent, TRANSLATE, name), evaluation, progress)
        judgement = Judgement(evaluation, gate)
        kept[name] = keep_judgement(registry, registry.load(name), judgement, progress, force=force)
    return kept


def measured_translators(
    registry: ModelRegistry,
    manifests: Sequence[Manifest],
    asked: Asked,
    source: TranslatedTexts,
    progress: Progress,
) -> dict[str, Evaluation]:
    """What is measured of each, by their names; the first is the original. Raises UsageError."""
    names = dict.fromkeys(one.name for one in manifests)
    original, *variants = (translator(registry, name, asked.provider) for name in names)
    return evaluate_translators(original, variants, source, progress, speeds=asked.speeds)


def measured_decoders(
    original: Manifest, manifests: Sequence[Manifest], texts: Sequence[str], progress: Progress
) -> dict[str, Evaluation]:
    """What is measured of each, by their names. Raises UsageError, ModelError."""
    tokens = _tokens(original, texts)
    found = {}
    for done, one in enumerate(manifests):
        progress("measuring next tokens", done, len(manifests))
        beside = compared(Path(original.graph_path), Path(one.graph_path), tokens)
        found[one.name] = Evaluation(
            use=GENERATE,
            version=one.version,
            original=original.name,
            original_version=original.version,
            served_by=served_by(beside.provider),
            rows=len(tokens),
            rows_sha256=hashlib.sha256(msgspec.json.encode(tokens)).hexdigest(),
            agreement=agreeing(beside.same),
            kl=beside.kl,
            top1=float(beside.same.mean()),
            perplexity=beside.perplexity,
            original_perplexity=beside.original_perplexity,
            size_bytes=sum(path.stat().st_size for path in files_of(one)),
        )
    progress("measuring next tokens", len(manifests), len(manifests))
    return found


def _tokens(manifest: Manifest, texts: Sequence[str]) -> list[list[int]]:
    """Of the first texts, cut; a text of one token says nothing of a next one."""
    tokenizer = Tokenizer.from_file(manifest.tokenizer_path)
    found: list[list[int]] = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids[
            : min(MAX_TEXT_TOKENS, manifest.max_tokens)
        ]
        if len(ids) > 1:
            found.append(ids)
        if sum(map(len, found)) >= MAX_TOKENS:
            break
    if not found:
        raise UsageError("There is no text of two tokens or more to measure on.")
    return found
