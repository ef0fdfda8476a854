"""A variant beside its float32 original, on the sample: how close its answers are, and whether company changes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from ...errors import ModelError
from ...models.manifest import CLASSIFIER, Manifest
from ...runtime.sessions import Session
from ...tasks.classify.scores import scores_of
from ...tasks.pooling import Tokenizes, embed, mean, pool
from ..sample import SAMPLE, calibration_texts, load_sample
from .agreement import Embeddings, agreement, independence, independence_of_scores, score_agreement


class VariantComparison:
    """Measures variants of one model, on the sentences of the sample and on long texts that join them."""

    def __init__(self, tokenizer: Tokenizes) -> None:
        self._tokenizer = tokenizer
        self._sentences, self._labels = load_sample()
        self._texts = calibration_texts(self._sentences)

    def measured(self, original: Manifest, precision: str, graph: tuple[str, Path]) -> Manifest:
        """The manifest of a variant with the (digest, path) of its graph: how it compares with its ``original``.

        Raises ModelError if a graph cannot be run, or gives what are no finite numbers.
        """
        digest, path = graph
        base = original.name.removesuffix(f"-{original.precision}")
        variant = replace(
            original.without_figures(),
            name=f"{base}-{precision}",
            precision=precision,
            graph_sha256=digest,
            graph_path=str(path),
        )
        if original.kind == CLASSIFIER:
            return self._of_scores(original, variant)
        return self._of_vectors(original, variant)

    def _of_vectors(self, original: Manifest, variant: Manifest) -> Manifest:
        before = self.alone(original, self._sentences)
        alone = self.alone(variant, self._texts)
        session = Session(variant.graph_path, provider="cpu")
        return replace(
            variant,
            agreement=agreement(before, alone[: len(before)], self._labels, SAMPLE),
            independence=independence(self._texts, self._labels, alone, self._tokenizer, session),
        )

    def _of_scores(self, original: Manifest, variant: Manifest) -> Manifest:
        several = variant.multi_label
        before = scores_of(self.alone(original, self._sentences), multi_label=several)
        alone = scores_of(self.alone(variant, self._texts), multi_label=several)
        session = Session(variant.graph_path, provider="cpu")
        return replace(
            variant,
            score_agreement=score_agreement(before, alone[: len(before)], multi_label=several, sample=SAMPLE),
            independence=independence_of_scores(
                self._texts, alone, self._tokenizer, session, multi_label=several
            ),
        )

    def alone(self, manifest: Manifest, texts: Sequence[str]) -> Embeddings:
        """What a variant computes for ``texts``, one window a run: vectors, or a number for each label.

        Raises ModelError if they are not finite numbers.
        """
        graph = Path(manifest.graph_path)
        pooled = mean if manifest.kind == CLASSIFIER else pool
        session = Session(graph, provider="cpu")
        vectors = embed(texts, self._tokenizer, session, batch_tokens=1, pooled=pooled)
        if not np.isfinite(vectors).all():
            raise ModelError(f"With these weights {graph.name} gives vectors that are not finite numbers.")
        return vectors
