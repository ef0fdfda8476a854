"""`models prune`: makes a smaller encoder of one on this machine, and its variants."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import msgspec
from safetensors.numpy import save

from ...errors import ModelError, UsageError
from ...graphs.bert.files import read_config, read_weights
from ...graphs.devices import CPU
from ...models.catalogue import PUBLISHED, PinnedFile
from ...models.files import publish, sha256_of
from ...models.manifest import ENCODER, Lineage, Manifest, write_manifest
from ...models.metrics import FITTED, Evaluation, Judgement
from ...models.progress import Progress, as_lines
from ...models.registry import ModelRegistry, split_name
from ...runtime.tokenizer import Tokenizer
from ..compression.calibration import chunks_of
from ..compression.pruning import PrunedEncoder, kept_of, prune
from ..evaluation.extra_sets import extra_sets
from ..evaluation.figures.classifiers import evaluate
from ..evaluation.gates import DEFAULTS, judge
from ..evaluation.served_models import fitted_encoder
from ..pull.plans import FILES, WEIGHTS, PullPlan
from ..pull.pulled_files import completed, sweep, whole_variants
from ..pull.variants import BUILDER_VERSION, VariantBuilder, refuse_without_weights
from ..sample import calibration_texts, load_sample
from ..triage.fit import hold_out
from ..triage.labeled import Labeled

STEP = "prune"
MAX_TEXTS = 1_000  # that pruning computes on; 400 were enough
MAX_TOKENS = 40_000  # of them: 120 MB of states in float64
MAX_FITTED = 3_000  # rows of the classifiers that measure
MAX_UNSEEN = 1_000


class Pruning(msgspec.Struct, frozen=True):
    """What to prune, and how."""

    original: str  # minilm
    share: float  # of the heads and units to remove
    known_as: str
    force: bool = False  # also if it keeps too little accuracy
    keep_closed: bool = False  # a variant that keeps too little is made too, and workers refuse it


def prune_model(
    registry: ModelRegistry, wanted: Pruning, rows: Labeled, progress: Progress
) -> list[Manifest]:
    """Remove heads and feed-forward units of an encoder, see `prune`, and build the variants of what is left.

    Four fifths of ``rows`` are what it computes on; both variants are measured on the last fifth against the float32
    variant of the original. What was made before from the same is not made again. Raises UsageError, or ModelError if
    a variant does not pass its gate; then there is no new model, unless it is forced, or kept closed.
    """
    base, precision = split_name(wanted.known_as)
    if precision or base in PUBLISHED:
        raise UsageError(f"{wanted.known_as} cannot be the name of a pruned model: give another by --as.")
    original = registry.load(f"{split_name(wanted.original)[0]}-fp32", ENCODER)
    lineage = Lineage(
        original.name, original.version, STEP, wanted.share, len(rows.texts), rows.digest, wanted.force
    )

    def made() -> list[Manifest]:
        found = whole_variants(registry, base)
        same = found and all(one.builder == BUILDER_VERSION and one.lineage == lineage for one in found)
        if same and (wanted.keep_closed or all(map(_is_open, found))):
            return found
        if any(one.lineage is None or one.lineage.original != original.name for one in found):
            raise UsageError(
                f"{base} is the name of another model here; give the pruned one another by --as."
            )
        return _PrunedModel(registry, base, original, lineage, progress).make(
            rows, keep_closed=wanted.keep_closed
        )

    return completed(registry, base, ENCODER, progress, made)


class _PrunedModel:
    """The pruned model ``base`` while it is made."""

    def __init__(
        self, registry: ModelRegistry, base: str, original: Manifest, lineage: Lineage, progress: Progress
    ) -> None:
        self._registry = registry
        self._home = registry.folder(base)
        self._base = base
        self._original = original
        self._lineage = lineage
        self._progress = progress
        self._tokenizer = Tokenizer(original.tokenizer_path, original.max_tokens, original.pad_id)

    def make(self, rows: Labeled, *, keep_closed: bool) -> list[Manifest]:
        """Prune, build and measure; the manifests are written when both variants are good enough, or kept closed."""
        known, unseen = hold_out(rows)
        self._write_files(self._pruned(known.texts))
        plan = self._plan()
        builder = VariantBuilder(self._home, plan, self._progress)
        source = f"{self._original.name}, {self._lineage.share:.0%} of its heads and units removed"
        fp32 = builder.fp32(source)
        measured = self._measured([fp32, builder.int8(fp32)], known, unseen)
        if closed := [one for one in measured if not _is_open(one)]:
            if not keep_closed:
                raise ModelError(_refusal(closed[0]))
            measured = [msgspec.structs.replace(one, gate=None) for one in measured]  # its judgement says it
        for manifest in measured:
            write_manifest(manifest, self._registry.manifest_path(self._base, manifest.precision))
        sweep(self._home, {*FILES, *(Path(one.graph_path).name for one in measured)})
        return measured

    def _pruned(self, texts: Sequence[str]) -> PrunedEncoder:
        """Pruned on ``texts`` and on the sample, so that it does not forget the rest of the language."""
        refuse_without_weights(self._original)
        folder = Path(self._original.graph_path).parent
        weights = folder / WEIGHTS
        if not weights.is_file() or sha256_of(weights) != self._original.weights_sha256:
            raise ModelError(
                f"The weights in {folder} are not those of {self._original.name}: make or pull that model again."
            )
        config = read_config(folder / "config.json")
        sentences, _ = load_sample()
        read = [*calibration_texts(sentences), *texts[:MAX_TEXTS]]
        windows = _within(chain.from_iterable(self._tokenizer.encode(read)))
        return prune(
            config,
            read_weights(weights, config),
            chunks_of(windows),
            kept_of(config, self._lineage.share),
            lambda layer, layers: self._progress(f"pruning layer {layer + 1} of {layers}", 0, None),
        )

    def _plan(self) -> PullPlan:
        original = self._original
        return PullPlan(
            self._base,
            original.kind,
            f"pruned from {original.version}",
            [PinnedFile.of(self._home / name) for name in FILES],
            original.max_tokens,
            "cls" if original.pooling == "cls" else "mean",
            original.notes,
        )

    def _measured(self, manifests: Sequence[Manifest], known: Labeled, unseen: Labeled) -> list[Manifest]:
        """The manifests with the judgement on each. Raises ModelError if too little accuracy is kept."""
        known = known.at(list(range(min(len(known.texts), MAX_FITTED))))
        unseen = unseen.without(known.texts)
        unseen = unseen.at(list(range(min(len(unseen.texts), MAX_UNSEEN))))
        told = as_lines(self._progress)
        original, *variants = (fitted_encoder(one, known, CPU, told) for one in (self._original, *manifests))
        sets = extra_sets(unseen.texts)
        fitted = len(known.texts)
        found = evaluate(original, variants, unseen, sets, told, fitted_rows=fitted, speeds=False)
        return [self._judged(manifest, found[manifest.name]) for manifest in manifests]

    def _judged(self, manifest: Manifest, evaluation: Evaluation) -> Manifest:
        gate = judge(evaluation, DEFAULTS[FITTED], force=self._lineage.forced)
        judgements = {FITTED: Judgement(evaluation, gate)}
        return msgspec.structs.replace(manifest, lineage=self._lineage, gate=gate, judgements=judgements)

    def _write_files(self, pruned: PrunedEncoder) -> None:
        """The files of a model, as on the hub: those of a BERT, whatever the family of the original is."""
        source = Path(self._original.graph_path).parent
        settings = msgspec.structs.replace(pruned.config, model_type="bert", architectures=None)
        contents = {
            "config.json": msgspec.json.format(msgspec.json.encode(settings), indent=2),
            "tokenizer.json": (source / "tokenizer.json").read_bytes(),
            WEIGHTS: save(pruned.weights),
        }
        for name, content in contents.items():
            part = self._home / f"{name}.part"
            part.write_bytes(content)
            publish(part, self._home / name)


def _is_open(manifest: Manifest) -> bool:
    judgement = manifest.judgements.get(FITTED)
    return judgement is None or judgement.gate.open


def _refusal(manifest: Manifest) -> str:
    failures = " ".join(manifest.judgements[FITTED].gate.failures)
    return (
        f"{manifest.name} is not published. {failures} Remove less by --share, give more rows, or publish it "
        "nevertheless by --force."
    )


def _within(windows: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """The first windows, MAX_TOKENS at most."""
    found: list[Sequence[int]] = []
    tokens = 0
    for window in windows:
        tokens += len(window)
        if tokens > MAX_TOKENS:
            break
        found.append(window)
    return found
