"""Makes an encoder that is trained towards its original: one that was pruned before, or some of the layers."""

from collections.abc import Sequence
from importlib.util import find_spec

import msgspec

from ...errors import UsageError
from ...models.manifest import ENCODER, Lineage, Manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ...runtime.tokenizer import Tokenizer
from ..compression.bert_layers import EncoderWeights
from ..distill.network import EncoderNetwork, one_thread
from ..distill.student import compared_layers, size_of_layers, with_layers
from ..distill.targets import MAX_BYTES, targets_of, windows_of
from ..distill.training import Training, TrainingEffort
from ..triage.labeled import Labeled
from .smaller import MakingWords, SmallerModel, weights_of

STEP = "distill"
CHECKPOINT = "training.pt"
ADVICE = "Train it for more passes, leave it more layers, prune less, or publish it nevertheless by `force`."


class Distilling(msgspec.Struct, frozen=True):
    """What to train, and how."""

    student: str  # minilm-pruned80: what training begins with
    layers: int | None  # that are kept; None: all
    passes: int  # over the texts
    known_as: str
    force: bool = False  # also if it keeps too little accuracy
    keep_closed: bool = False  # a variant that keeps too little is made too, and workers refuse it


def check_torch() -> None:
    """Raise UsageError without torch."""
    if find_spec("torch") is None:  # an import takes seconds
        raise UsageError(
            "The step distill trains with torch: run pip install '.[optimize]' in a checkout of inferstream."
        )


def distill_model(
    registry: ModelRegistry, wanted: Distilling, rows: Labeled, progress: Progress
) -> list[Manifest]:
    """Train an encoder to give the vectors of its original, on texts without their labels, and build its variants.

    Four fifths of ``rows`` are what it is trained on; both variants are measured on the last fifth beside the float32
    variant of the original. What was made before from the same is not made again, and a training that was killed goes
    on. Raises UsageError, or ModelError if a variant does not pass its gate; then there is no new model, unless it is
    forced, or kept closed.
    """
    check_torch()
    begun = registry.load(f"{split_name(wanted.student)[0]}-fp32", ENCODER)
    original = _original_of(registry, begun)
    student, teacher = weights_of(begun), weights_of(original)
    layers = wanted.layers or student.config.num_hidden_layers
    if layers > student.config.num_hidden_layers:
        raise UsageError(f"{begun.name} has {student.config.num_hidden_layers} layers, and not {layers}.")
    student = with_layers(student, layers)
    kept = size_of_layers(student) / size_of_layers(teacher)
    if kept == 1:
        raise UsageError(
            f"{begun.name} is an original of {layers} layers, there is nothing to train: keep fewer by `layers`, or "
            "name a pruned one by `of`."
        )
    lineage = Lineage(
        original.name,
        original.version,
        STEP,
        round(1 - kept, 4),
        len(rows.texts),
        rows.digest,
        wanted.force,
        student=f"{begun.name} {begun.version}",
        passes=wanted.passes,
    )
    words = MakingWords(
        f"{original.name}, {1 - kept:.0%} of its layers' weights removed, then trained towards it",
        "distilled",
        ADVICE,
    )
    model = SmallerModel(registry, wanted.known_as, original, lineage, progress)

    @one_thread()
    def trained(texts: Sequence[str]) -> EncoderWeights:
        pairs = compared_layers(layers, teacher.config.num_hidden_layers)
        tokenizer = Tokenizer(original.tokenizer_path, original.max_tokens, original.pad_id)
        limit = MAX_BYTES // (2 * len(pairs) * teacher.config.hidden_size)
        windows = windows_of(texts, tokenizer, limit)
        told = EncoderNetwork(teacher)
        targets = targets_of(told, original.pooling, [layer for _, layer in pairs], windows, progress)
        network = EncoderNetwork(student)
        effort = TrainingEffort(wanted.passes, original.pooling, [layer for layer, _ in pairs])
        key = msgspec.json.encode(lineage).decode()
        weights = Training(network, targets, effort, model.folder / CHECKPOINT, key).run(progress)
        return EncoderWeights(student.config, weights)

    return model.once(rows, words, trained, keep_closed=wanted.keep_closed)


def _original_of(registry: ModelRegistry, manifest: Manifest) -> Manifest:
    """What a model was made from, and so on to the first."""
    while made := manifest.lineage:
        manifest = registry.load(made.original, ENCODER)
        if manifest.version != made.original_version:
            raise UsageError(
                f"{made.original} is not the version any more of which a part was made: make that again first."
            )
    return manifest
