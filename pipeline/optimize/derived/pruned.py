"""`models prune`: makes a smaller encoder of one on this machine, and its variants."""

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from ...models.manifest import ENCODER, Lineage, Manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ...runtime.tokenizer import Tokenizer
from ..compression.bert_layers import EncoderWeights
from ..compression.calibration import chunks_of
from ..compression.pruning import kept_of, prune
from ..sample import calibration_texts, load_sample
from ..triage.labeled import Labeled
from .smaller import MakingWords, SmallerModel, weights_of

STEP = "prune"
MAX_TEXTS = 1_000  # that pruning computes on; 400 were enough
MAX_TOKENS = 40_000  # of them: 120 MB of states in float64
ADVICE = "Remove less by --share, give more rows, or publish it nevertheless by --force."


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
    original = registry.load(f"{split_name(wanted.original)[0]}-fp32", ENCODER)
    lineage = Lineage(
        original.name, original.version, STEP, wanted.share, len(rows.texts), rows.digest, wanted.force
    )
    words = MakingWords(
        f"{original.name}, {wanted.share:.0%} of its heads and units removed", "pruned", ADVICE
    )
    model = SmallerModel(registry, wanted.known_as, original, lineage, progress)
    return model.once(
        rows,
        words,
        lambda texts: _pruned(original, wanted.share, texts, progress),
        keep_closed=wanted.keep_closed,
    )


def _pruned(original: Manifest, share: float, texts: Sequence[str], progress: Progress) -> EncoderWeights:
    """Pruned on ``texts`` and on the sample, so that it does not forget the rest of the language."""
    config, weights = weights_of(original)
    tokenizer = Tokenizer(original.tokenizer_path, original.max_tokens, original.pad_id)
    sentences, _ = load_sample()
    read = [*calibration_texts(sentences), *texts[:MAX_TEXTS]]
    windows = within(chain.from_iterable(tokenizer.encode(read)), MAX_TOKENS)
    found = prune(
        config,
        weights,
        chunks_of(windows),
        kept_of(config, share),
        lambda layer, layers: progress(f"pruning layer {layer + 1} of {layers}", 0, None),
    )
    return EncoderWeights(found.config, found.weights)


def within(windows: Iterable[Sequence[int]], limit: int) -> list[Sequence[int]]:
    """The first windows, ``limit`` tokens at most."""
    found: list[Sequence[int]] = []
    tokens = 0
    for window in windows:
        tokens += len(window)
        if tokens > limit:
            break
        found.append(window)
    return found
