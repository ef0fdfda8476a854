"""The static tier: what it computes, the same alone and in any batch, from checked files only."""

import hashlib
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from support.static_tiers import random_arrays

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.tasks.triage.classifier import Linear
from inferstream.pipeline.tasks.triage.static_file import MAX_HIDDEN, MAX_WIDTH, StaticArrays
from inferstream.pipeline.tasks.triage.static_tier import GATHERED, StaticTier, Windows

AXIS = np.linspace(-1, 1, 12, dtype=np.float32)
LINEAR = Linear(
    np.random.default_rng(4).normal(0, 1, (12, 6)).astype(np.float32), np.linspace(0, 1, 6, dtype=np.float32)
)
"""An encoder's classifier of five labels, and an axis."""

windows = st.lists(st.integers(0, 60), min_size=0, max_size=40)
texts_of_windows = st.lists(st.lists(windows, min_size=1, max_size=3), min_size=1, max_size=70)


def plain(arrays: StaticArrays, text: Windows) -> np.ndarray:
    """The logits by the definition, without rounding between the layers."""
    row = {int(token): number for number, token in enumerate(arrays.tokens)}
    known = [row[token] for window in text for token in window if token in row]
    pair = {(int(a), int(b)): len(row) + number for number, (a, b) in enumerate(arrays.pairs)}
    known += [pair[two] for window in text for two in pairwise(window) if two in pair]
    table = arrays.table.astype(np.float64) * arrays.row_weights[:, None]
    vector = table[known].sum(axis=0) if known else np.zeros(arrays.table.shape[1])
    vector = vector / max(np.sqrt(np.mean(vector**2)), 1e-9)
    hidden = np.maximum(vector @ (arrays.hidden * arrays.hidden_scales) + arrays.hidden_bias, 0)
    logits = hidden @ (arrays.output * arrays.output_scales) + arrays.output_bias
    return logits / arrays.temperature[0]


@settings(max_examples=40, deadline=None)
@given(texts_of_windows, st.integers(0, 5))
def test_an_answer_is_the_same_to_the_bit_alone_and_in_any_batch(texts: list[Windows], seed: int) -> None:
    tier = StaticTier(random_arrays(seed)).with_encoder(LINEAR)
    together = tier.read_texts(texts)
    best = together.logits.argmax(axis=1)
    agreed = together.agreed(best)
    for number, text in enumerate(texts):
        alone = tier.read_texts([text])
        assert alone.logits.tobytes() == together.logits[number].tobytes()
        assert alone.columns.tobytes() == together.columns[number].tobytes()
        assert alone.agreed(best[number : number + 1]).tobytes() == agreed[number].tobytes()
    swapped = tier.read_texts(texts[::-1])
    assert swapped.logits[::-1].tobytes() == together.logits.tobytes()


def test_wide_layers_too_are_the_same_to_the_bit_in_any_batch() -> None:
    """With the largest sizes, the sums of integers stay below 2²⁴: any order of adding gives the same."""
    arrays = random_arrays(width=MAX_WIDTH, hidden=MAX_HIDDEN, labels=300)
    largest = arrays._replace(
        hidden=np.full_like(arrays.hidden, 127), output=np.full_like(arrays.output, 127),
        table=np.full_like(arrays.table, -127),
    )  # fmt: skip
    draw = np.random.default_rng(1)
    texts = [[draw.integers(0, 50, draw.integers(1, 300)).tolist()] for _ in range(130)]
    for made in (arrays, largest):
        tier = StaticTier(made)
        together = tier.logits(texts)
        for number in (0, 1, 63, 64, 129):
            assert tier.logits([texts[number]]).tobytes() == together[number].tobytes()


@settings(max_examples=40, deadline=None)
@given(st.lists(windows, min_size=1, max_size=3), st.integers(0, 5))
def test_the_logits_are_those_of_the_definition(text: Windows, seed: int) -> None:
    arrays = random_arrays(seed)
    expected = plain(arrays, text)
    np.testing.assert_allclose(
        StaticTier(arrays).logits([text])[0], expected, atol=0.05 * np.ptp(expected) + 0.02
    )


def test_tokens_and_pairs_without_a_row_change_nothing() -> None:
    arrays = random_arrays()
    tier = StaticTier(arrays._replace(pairs=arrays.pairs + 1_000))
    assert (tier.logits([[[0, 1, 3]]]) == tier.logits([[[0, 2, 1, 8, 3, 10_000]]])).all()
    assert np.isfinite(tier.logits([[[]], [[2, 2]], [[10_000]]])).all()


def test_the_axis_is_that_of_the_vectors() -> None:
    """The fast columns say what the vectors say, apart from their length."""
    arrays = random_arrays()
    tier = StaticTier(arrays).along(AXIS)
    draw = np.random.default_rng(2)
    texts = [[draw.integers(0, 50, 12).tolist()] for _ in range(40)]
    expected = tier.vectors(texts) @ AXIS
    assert np.corrcoef(tier.read_texts(texts).along, expected)[0, 1] > 0.9
    assert (StaticTier(arrays).read_texts(texts).along == 0).all()
    assert tier.read_texts([]).along.shape == (0,)


def test_it_expects_of_the_encoder_what_its_classifier_says_of_the_vectors() -> None:
    tier = StaticTier(random_arrays()).with_encoder(LINEAR)
    draw = np.random.default_rng(2)
    texts = [[draw.integers(0, 50, 12).tolist()] for _ in range(40)]
    reading = tier.read_texts(texts)
    expected = tier.vectors(texts) @ LINEAR.weights  # of length 1, which those of the columns are not
    for column in range(6):
        assert np.corrcoef(reading.columns[:, column], expected[:, column])[0, 1] > 0.9
    best = reading.columns[:, :-1].argmax(axis=1)
    assert (reading.agreed(best) >= 1 / 5).all()
    assert (reading.agreed(best) > reading.agreed((best + 1) % 5)).all()
    assert tier.nbytes > StaticTier(random_arrays()).nbytes


def test_a_text_of_many_windows_needs_no_more_memory_than_a_short_one() -> None:
    arrays = random_arrays(tokens=30_000, width=128, hidden=384, labels=77)
    tier = StaticTier(arrays)
    draw = np.random.default_rng(3)

    long = [
        draw.integers(0, 30_000, 256).tolist() for _ in range(2_000)
    ]  # half a million tokens: more than the worst megabyte has
    tier.logits([long])
    tracemalloc.start()
    tier.logits([long])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * GATHERED * 128 * 8


def test_no_texts_have_no_logits() -> None:
    assert StaticTier(random_arrays()).logits([]).shape == (0, 5)


# The file.


def test_a_tier_is_read_as_it_was_written() -> None:
    arrays = random_arrays()
    content = arrays.encoded()
    tier = read(content)
    text: Sequence[Sequence[int]] = [[1, 3, 4]]
    assert (tier.logits([text]) == StaticTier(arrays).logits([text])).all()
    assert (tier.labels, tier.dimensions) == (5, 12)


def test_arrays_that_are_not_contiguous_are_written_as_they_look() -> None:
    arrays = random_arrays()
    content = arrays._replace(hidden=np.asfortranarray(arrays.hidden)).encoded()
    assert content == arrays.encoded()


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:9], lambda c: b"", lambda c: c + b"\0"])
def test_a_cut_file_is_refused_in_one_sentence(damage: Callable[[bytes], bytes]) -> None:
    content = random_arrays().encoded()
    with pytest.raises(ModelError, match=r"^X is damaged or of another fit; fit the model again.$"):
        StaticTier.read(damage(content), hashlib.sha256(content).hexdigest(), "X")
    with pytest.raises(ModelError, match=r"^X is no whole safetensors file \(.*\); fit the model again.$"):
        read(damage(content))


def test_each_flipped_bit_is_found() -> None:
    content = bytearray(random_arrays().encoded())
    digest = hashlib.sha256(content).hexdigest()
    for place in range(0, len(content), 97):
        content[place] ^= 1
        with pytest.raises(ModelError, match="is damaged"):
            StaticTier.read(bytes(content), digest, "X")
        content[place] ^= 1


WRONG: dict[str, tuple[str, Callable[[StaticArrays], StaticArrays]]] = {
    "NaN": ("not finite", lambda a: a._replace(output_bias=np.full_like(a.output_bias, np.nan))),
    "infinite": ("not finite", lambda a: a._replace(hidden_scales=np.full_like(a.hidden_scales, np.inf))),
    "fewer rows": ("shape", lambda a: a._replace(table=a.table[1:])),
    "other width": ("shape", lambda a: a._replace(table=a.table[:, 1:])),
    "one dimension": ("shape", lambda a: a._replace(table=a.table.ravel())),
    "other labels": ("shape", lambda a: a._replace(output=a.output[:, 1:])),
    "other space": ("shape", lambda a: a._replace(meaning=a.meaning[1:])),
    "no temperature": ("shape", lambda a: a._replace(temperature=a.temperature[1:])),
    "cold": ("temperature", lambda a: a._replace(temperature=-a.temperature)),
    "falling": ("rise", lambda a: a._replace(tokens=a.tokens[::-1])),
    "negative": ("rise", lambda a: a._replace(tokens=a.tokens - 1)),
    "as floats": ("no array 'table'", lambda a: a._replace(table=a.table.astype(np.float32))),
    "empty": ("no token", lambda a: a._replace(tokens=a.tokens[:0], table=a.table[a.tokens.size :],
                                           row_weights=a.row_weights[a.tokens.size :])),
    "fewer pairs": ("shape", lambda a: a._replace(pairs=a.pairs[1:])),
    "triples": ("shape", lambda a: a._replace(pairs=np.column_stack([a.pairs, a.pairs[:, :1]]))),
    "falling pairs": ("pairs of token ids do not rise", lambda a: a._replace(pairs=a.pairs[::-1])),
    "negative pairs": ("pairs of token ids do not rise", lambda a: a._replace(pairs=a.pairs - 60)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    said, change = WRONG[name]
    with pytest.raises(ModelError, match=rf"^X .*{said}.*; fit the model again.$"):
        read(change(random_arrays()).encoded())


def test_layers_too_wide_for_exact_sums_are_refused() -> None:
    for arrays in (random_arrays(width=MAX_WIDTH + 1), random_arrays(hidden=MAX_HIDDEN + 1)):
        with pytest.raises(ModelError, match="its width is above 1024, or its hidden layer above 512"):
            read(arrays.encoded())


def test_a_file_with_an_array_missing_is_refused() -> None:
    arrays = random_arrays()._asdict()
    del arrays["meaning"]
    with pytest.raises(ModelError, match="no array 'meaning'"):
        read(save(arrays))


def read(content: bytes) -> StaticTier:
    return StaticTier.read(content, hashlib.sha256(content).hexdigest(), "X")
