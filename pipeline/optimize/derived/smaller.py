"""An encoder that is made from one on this machine: its files, its variants, and the judgement on each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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
from ..compression.bert_layers import EncoderWeights
from ..evaluation.extra_sets import extra_sets
from ..evaluation.figures.classifiers import evaluate
from ..evaluation.gates import DEFAULTS, judge
from ..evaluation.served_models import fitted_encoder
from ..pull.plans import FILES, WEIGHTS, PullPlan
from ..pull.pulled_files import completed, sweep, whole_variants
from ..pull.variants import BUILDER_VERSION, VariantBuilder, refuse_without_weights
from ..triage.fit import hold_out
from ..triage.labeled import Labeled

MAX_FITTED = 3_000  # rows of the classifiers that measure
MAX_UNSEEN = 1_000


class MakingWords(NamedTuple):
    """What the manifest says of the making, and what helps if too little accuracy is kept."""

    source: str  # minilm-fp32, 60% of its heads and units removed
    made: str  # pruned
    advice: str


class SmallerModel:
    """The model ``base``, while it is made from ``original``."""

    def __init__(
        self, registry: ModelRegistry, base: str, original: Manifest, lineage: Lineage, progress: Progress
    ) -> None:
        self._registry = registry
        self.folder = registry.folder(base)
        self._base = base
        self._original = original
        self._lineage = lineage
        self._progress = progress

    def once(
        self,
        rows: Labeled,
        words: MakingWords,
        make: Callable[[Sequence[str]], EncoderWeights],
        *,
        keep_closed: bool,
    ) -> list[Manifest]:
        """Both variants, as they are here if they were made from the same; else of the encoder that ``make`` makes.

        ``make`` gets four fifths of the texts; both variants are measured on the last fifth beside the original.
        Raises UsageError for the name of another model, ModelError if a variant does not pass its gate; with
        ``keep_closed`` it is made nevertheless, and workers refuse it.
        """
        precision = split_name(self._base)[1]
        if precision or self._base in PUBLISHED:
            raise UsageError(
                f"{self._base} cannot be the name of a {words.made} model: give it another by --as, or by `name` in a "
                "recipe."
            )

        def made() -> list[Manifest]:
            found = whole_variants(self._registry, self._base)
            same = found and all(
                one.builder == BUILDER_VERSION and one.lineage == self._lineage for one in found
            )
            if same and (keep_closed or all(map(_is_open, found))):
                return found
            if any(one.lineage is None or one.lineage.original != self._original.name for one in found):
                raise UsageError(
                    f"{self._base} is the name of another model here; give the {words.made} one another by --as, or "
                    "by `name` in a recipe."
                )
            return self._make(rows, words, make, keep_closed=keep_closed)

        return completed(self._registry, self._base, ENCODER, self._progress, made)

    def _make(
        self,
        rows: Labeled,
        words: MakingWords,
        make: Callable[[Sequence[str]], EncoderWeights],
        *,
        keep_closed: bool,
    ) -> list[Manifest]:
        """The manifests are written when both variants are good enough, or kept closed."""
        known, unseen = hold_out(rows)
        self._write_files(make(known.texts))
        builder = VariantBuilder(self.folder, self._plan(words), self._progress)
        fp32 = builder.fp32(words.source)
        measured = self._measured([fp32, builder.int8(fp32)], known, unseen)
        if closed := [one for one in measured if not _is_open(one)]:
            if not keep_closed:
                failures = " ".join(closed[0].judgements[FITTED].gate.failures)
                raise ModelError(f"{closed[0].name} is not published. {failures} {words.advice}")
            measured = [msgspec.structs.replace(one, gate=None) for one in measured]  # its judgement says it
        for manifest in measured:
            write_manifest(manifest, self._registry.manifest_path(self._base, manifest.precision))
        sweep(self.folder, {*FILES, *(Path(one.graph_path).name for one in measured)})
        return measured

    def _plan(self, words: MakingWords) -> PullPlan:
        original = self._original
        return PullPlan(
            self._base,
            original.kind,
            f"{words.made} from {original.version}",
            [PinnedFile.of(self.folder / name) for name in FILES],
            original.max_tokens,
            "cls" if original.pooling == "cls" else "mean",
            original.notes,
        )

    def _measured(self, manifests: Sequence[Manifest], known: Labeled, unseen: Labeled) -> list[Manifest]:
        """The manifests with the judgement on each."""
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

    def _write_files(self, made: EncoderWeights) -> None:
        """The files of a model, as on the hub: those of a BERT, whatever the family of the original is."""
        source = Path(self._original.graph_path).parent
        settings = msgspec.structs.replace(made.config, model_type="bert", architectures=None)
        contents = {
            "config.json": msgspec.json.format(msgspec.json.encode(settings), indent=2),
            "tokenizer.json": (source / "tokenizer.json").read_bytes(),
            WEIGHTS: save(dict(made.weights)),
        }
        for name, content in contents.items():
            part = self.folder / f"{name}.part"
            part.write_bytes(content)
            publish(part, self.folder / name)


def _is_open(manifest: Manifest) -> bool:
    judgement = manifest.judgements.get(FITTED)
    return judgement is None or judgement.gate.open


def weights_of(manifest: Manifest) -> EncoderWeights:
    """What an encoder on this machine is made of. Raises ModelError if that is not here any more."""
    refuse_without_weights(manifest)
    folder = Path(manifest.graph_path).parent
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256_of(weights) != manifest.weights_sha256:
        raise ModelError(
            f"The weights in {folder} are not those of {manifest.name}: make or pull that model again."
        )
    config = read_config(folder / "config.json")
    return EncoderWeights(config, read_weights(weights, config))
