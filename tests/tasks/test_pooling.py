"""Padding, pooling and embedding: the result for a text does not depend on the other rows of its batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.tasks.pooling import embed, pack, pool, unit

rows_of_tokens = st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=40), min_size=1, max_size=12)


@given(rows_of_tokens, st.integers(0, 5))
def test_collate_keeps_each_row_and_masks_the_rest(rows: list[list[int]], pad_id: int) -> None:
    feeds = collate(rows, pad_id)
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, padded, real in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        assert padded == row + [pad_id] * (len(padded) - len(row))
        assert real == [1] * len(row) + [0] * (len(padded) - len(row))


def vectors(count: int, seed: int) -> list[NDArray[np.float32]]:
    return list(unit(np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)))


@given(
    st.lists(st.lists(st.integers(3, 256), min_size=1, max_size=5), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_pool_returns_the_weighted_mean_direction_of_each_text(texts: list[list[int]], seed: int) -> None:
    lengths = [length for text in texts for length in text]
    outputs = vectors(len(lengths), seed)
    pooled = pool(outputs, lengths, [len(text) for text in texts])
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)
    start = 0
    for text, vector in zip(texts, pooled, strict=True):
        mean = np.average(outputs[start : start + len(text)], axis=0, weights=text)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-4)
        start += len(text)


def test_a_long_window_weighs_more_than_a_short_one() -> None:
    one, other = np.eye(2, dtype=np.float32)
    pooled = pool([one, other], [200, 50], [2])
    assert pooled[0, 0] == pytest.approx(4 * pooled[0, 1])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.sampled_from([1, 64, 256]))
def test_each_row_is_in_one_batch_within_the_bound(lengths: list[int], batch_tokens: int) -> None:
    batches = pack([[0] * length for length in lengths], batch_tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    shapes = [(len(batch), max(lengths[i] for i in batch)) for batch in batches]
    assert all(rows == 1 or rows * longest <= batch_tokens for rows, longest in shapes)
    assert [longest for _, longest in shapes] == sorted(longest for _, longest in shapes)


def test_unit_keeps_a_vector_of_zeros() -> None:
    assert not unit(np.zeros((1, 4), np.float32)).any()


class CountingSession:
    """A model that returns (first token, number of tokens) for each row."""

    def __init__(self) -> None:
        self.padded_tokens: list[int] = []

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self.padded_tokens.append(feeds["input_ids"].size)
        counts = feeds["attention_mask"].sum(axis=1)
        return [np.stack([feeds["input_ids"][:, 0], counts], axis=1).astype(np.float32)]


class LetterTokenizer:
    """A tokenizer with one token per letter and windows of 8 tokens."""

    pad_id = 0

    def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[list[int]]]:
        return [[[*text[i : i + 8].encode()] for i in range(0, len(text), 8)] for text in texts]


@given(st.lists(st.text(st.sampled_from("abc"), min_size=1, max_size=30), min_size=1, max_size=80))
def test_embed_returns_the_texts_in_their_order(texts: list[str]) -> None:
    session = CountingSession()
    progress: list[tuple[int, int]] = []
    found = embed(texts, LetterTokenizer(), session, lambda rows, total: progress.append((rows, total)))
    alone = np.concatenate([embed([text], LetterTokenizer(), CountingSession()) for text in texts])
    np.testing.assert_allclose(found, alone, rtol=1e-6)
    assert max(session.padded_tokens) <= 512
    assert {total for _, total in progress} == {sum(rows for rows, _ in progress)}
