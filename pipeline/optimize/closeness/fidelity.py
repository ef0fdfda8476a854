"""How close a decoder is to its float32 original, and whether other rows change a text: measured when it is built."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import ModelError, ProviderUnavailable
from ...graphs.devices import CPU, DEVICE
from ...models.manifest import Fidelity, Steadiness
from ...runtime.generated_row import DECODE, PREFILL, GeneratedRow
from ...runtime.generator import Generator, GeneratorSize
from ...runtime.model import More
from ...runtime.sessions import Session
from ..sample import SAMPLE, load_sample

TOKENS_OF_A_TEXT = 80
"""In each of the 12 texts: the sentences of one category of the sample, one behind the other."""

TEXTS = 8
LENGTHS = (1, 9, 17, 33, 48, 65, 70, 80)
"""Tokens of the prompts that are generated from; 65 is a chunk and one token."""
CHUNKS = (64, 32, 16, 31, 1, 64, 7, 40)
GENERATED = 12

Scores = NDArray[np.float32]


def sample_texts(encode: Callable[[str], Sequence[int]], context: int) -> list[Sequence[int]]:
    """The token ids of the texts that a decoder is measured on."""
    labeled = zip(*reversed(load_sample()), strict=True)
    joined = [" ".join(text for _, text in group) for _, group in groupby(labeled, key=lambda pair: pair[0])]
    limit = min(TOKENS_OF_A_TEXT, context)
    return [encode(text)[:limit] for text in joined]


class Compared(NamedTuple):
    """A decoder beside its original on some texts."""

    kl: float
    same: NDArray[np.bool_]  # for each token, whether both expect the same one behind it
    perplexity: float  # of the variant on these texts
    original_perplexity: float
    provider: str


def fidelity(original: Path, variant: Path, texts: Sequence[Sequence[int]]) -> Fidelity:
    """Compare the probabilities of the next token after each token of ``texts``.

    Raises ModelError if a graph gives scores that are not finite numbers.
    """
    found = compared(original, variant, texts)
    return Fidelity(found.kl, float(found.same.mean()), len(found.same), SAMPLE, found.provider)


def compared(original: Path, variant: Path, texts: Sequence[Sequence[int]]) -> Compared:
    """The same, and the perplexity of both. Raises ModelError if a graph gives scores that are not finite numbers."""
    measured = _measured_session(variant)
    sessions = [Session(original, provider="cpu"), measured]
    divergences: list[NDArray[np.float64]] = []
    same: list[NDArray[np.bool_]] = []
    losses: list[NDArray[np.float64]] = []
    for tokens in texts:
        first, second = (scores_of(session, tokens) for session in sessions)
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise ModelError(f"With these weights {variant.name} gives scores that are not finite numbers.")
        same.append(first.argmax(-1) == second.argmax(-1))
        expected, found = _log_probabilities(first), _log_probabilities(second)
        divergences.append((np.exp(expected) * (expected - found)).sum(-1))
        behind = np.arange(len(tokens) - 1), np.asarray(tokens[1:], np.intp)
        losses.append(-np.stack([found[behind], expected[behind]]))
    perplexity, original_perplexity = np.exp(np.concatenate(losses, axis=1).mean(axis=1)).tolist()
    return Compared(
        kl=float(np.concatenate(divergences).mean()),
        same=np.concatenate(same),
        perplexity=perplexity,
        original_perplexity=original_perplexity,
        provider=measured.provider,
    )


def _measured_session(path: Path) -> Session:
    """The graph on the device that it is made for, or on a CPU where there is none."""
    device = {one.key: one.value for one in onnx.load(path, load_external_data=False).metadata_props}[DEVICE]
    try:
        return Session(path, provider=device)
    except ProviderUnavailable:
        return Session(path, provider=CPU)


def scores_of(session: Session, tokens: Sequence[int]) -> Scores:
    """The scores after each of ``tokens``, (tokens, words)."""
    count = len(tokens)
    feeds: dict[str, NDArray[Any]] = {
        "tokens": np.array([tokens], np.int64),
        "last": np.array([count - 1], np.int32),
        "longest": np.array(count, np.int32),
        "wanted": np.arange(count),
    }
    for name, shape in session.input_shapes.items():
        if name not in feeds:
            _, heads, _, width = shape
            feeds[name] = np.zeros((1, int(heads), count, int(width)), session.input_types[name])
    scores: Scores = session.run(feeds)[session.outputs.index("scores")]
    return scores


def steadiness(path: Path, texts: Sequence[Sequence[int]]) -> Steadiness | None:
    """Generate from the starts of ``texts``: alone, all together, in other chunks, and resumed in the middle.

    None without the device that the graph is made for: another one says nothing about it.
    """
    session = _measured_session(path)
    if session.provider != session.metadata[DEVICE]:
        return None
    size = GeneratorSize(rows=TEXTS, context=max(map(len, texts)) + GENERATED)
    generator = Generator(session, size)
    generator.warm_up()
    prompts = [text[:length] for text, length in zip(texts, LENGTHS, strict=False)]
    alone = [_generate(generator, [_Recorded(prompt)])[0] for prompt in prompts]

    def changed(rows: Sequence[_Recorded]) -> int:
        return sum(found != known for found, known in zip(_generate(generator, rows), alone, strict=True))

    others = [_Recorded(prompt, chunk) for prompt, chunk in zip(prompts, CHUNKS, strict=False)]
    resumed = [
        _Recorded(prompt, forced=tokens[: GENERATED // 2])
        for prompt, (tokens, _) in zip(prompts, alone, strict=True)
    ]
    return Steadiness(
        texts=len(prompts),
        in_company=changed([_Recorded(prompt) for prompt in prompts]),
        in_other_chunks=changed(others),
        resumed=sum(
            found != (tokens, scores[len(row.forced) :])
            for found, row, (tokens, scores) in zip(
                _generate(generator, resumed), resumed, alone, strict=True
            )
        ),
    )


class _Recorded(GeneratedRow):
    """A row that takes the best token and remembers the scores of each step as bytes."""

    __slots__ = ("scores",)

    def __init__(self, prompt: Sequence[int], chunk: int | None = None, forced: Sequence[int] = ()) -> None:
        self.scores: list[int] = []
        super().__init__(prompt, GENERATED, chooser=self, forced=forced)
        if chunk:
            self.chunk = chunk
            self.next_chunk()

    def choose(self, scores: Scores, generated: Sequence[int]) -> int:
        self.scores.append(hash(scores.tobytes()))
        return int(scores.argmax())


Recorded = tuple[list[int], list[int]]
"""The tokens of a text, and for each of them what stands for the bits of all scores."""


def _generate(generator: Generator, rows: Sequence[_Recorded]) -> list[Recorded]:
    live = list(rows)
    while live:
        for phase in (PREFILL, DECODE):
            if batch := [row for row in live if row.phase == phase]:
                results = generator.step(batch)
                ended = [
                    row for row, result in zip(batch, results, strict=True) if not isinstance(result, More)
                ]
                live = [row for row in live if row not in ended]
    return [(row.generated, row.scores) for row in rows]


def _log_probabilities(scores: Scores) -> NDArray[np.float64]:
    shifted = scores.astype(np.float64) - scores.max(-1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found
