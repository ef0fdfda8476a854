"""The graph against plain NumPy, forced prefixes, the length limit; and that no row depends on the others."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numpy_marian import NumpyMarian
from support.tiny_marian import (
    HEADS,
    LAYERS,
    OPTIONS,
    WORDS,
    as_stored,
    tiny_arrays,
    write_tiny_marian,
)
from support.translators import TracedTranslator, graph_of, shortlist_of

from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.translator import SourceRow, Translation, Translator

SIZES = {
    "tiny": {},
    "other sizes": {
        "dim_emb": 24,
        "transformer_heads": 3,
        "transformer_dim_ffn": 40,
        "enc_depth": 1,
        "dec_depth": 3,
    },
}


def a_row(tokens: int, prefix: int, seed: int) -> SourceRow:
    """A row of random tokens. Few of the lists that hypothesis draws have a length whose sums may go wrong."""
    rng = np.random.default_rng(seed)
    source = rng.integers(1, WORDS, tokens).tolist()
    return SourceRow([*source, 0], rng.integers(1, WORDS, min(prefix, tokens)).tolist())


rows = st.builds(a_row, st.integers(0, 15), st.integers(0, 3), st.integers(0, 10_000))


def sources(count: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[*rng.integers(1, WORDS, rng.integers(0, 14)).tolist(), 0] for _ in range(count)]


def translator(folder: Path, precision: str = "fp32") -> Translator:
    path = folder / f"{precision}.onnx"
    write_model(graph_of(folder, precision), path)
    return Translator(Session(path, provider="cpu"), shortlist_of(folder))


@pytest.mark.parametrize("name", SIZES)
def test_equals_numpy(tmp_path: Path, name: str) -> None:
    sizes = SIZES[name]
    translate = translator(write_tiny_marian(tmp_path, 4, **sizes))
    options = OPTIONS | {key.replace("_", "-"): value for key, value in sizes.items()}
    layers = (options["enc-depth"], options["dec-depth"])
    plain = NumpyMarian(as_stored(tiny_arrays(options, 4)), options["transformer-heads"], layers)
    shortlist = shortlist_of(tmp_path)
    ends = []
    for source in sources(40):
        expected = plain.translate(
            source, shortlist.candidates(source).tolist(), math.ceil(2.5 * len(source))
        )
        assert translate.step([SourceRow(source)]) == [Translation(*expected)]
        ends.append(expected[1])
    assert name != "tiny" or {True, False} == set(ends), "some end, some are stopped at the length factor"


def test_a_prefix_is_continued_as_if_it_had_been_generated(tmp_path: Path) -> None:
    translate = translator(write_tiny_marian(tmp_path, 4))
    plain = NumpyMarian(as_stored(tiny_arrays(OPTIONS, 4)), HEADS, (LAYERS, LAYERS))
    shortlist = shortlist_of(tmp_path)
    for source in sources(12):
        (whole,) = translate.step([SourceRow(source)])
        for length in range(len(whole.tokens) + 1):
            (rest,) = translate.step([SourceRow(source, whole.tokens[:length])])
            assert whole.tokens[:length] + rest.tokens == whole.tokens
            assert rest.ended == whole.ended
        foreign = [7, 9, 11][: len(source)]
        choices = shortlist.candidates(source).tolist()
        expected = plain.translate(source, choices, math.ceil(2.5 * len(source)), foreign)
        assert translate.step([SourceRow(source, foreign)]) == [Translation(*expected)]


def test_a_prefix_at_the_limit_or_above_leaves_nothing_to_generate(tmp_path: Path) -> None:
    translate = translator(write_tiny_marian(tmp_path))
    for length in (5, 9):  # two tokens of the source allow five
        (found,) = translate.step([SourceRow([8, 0], [9] * length)])
        assert found == Translation([], ended=False)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TracedTranslator:
    folder = write_tiny_marian(tmp_path_factory.mktemp("tiny"), 4)
    return TracedTranslator(graph_of(folder, request.param), folder / "traced.onnx", shortlist_of(folder))


@settings(max_examples=40)
@given(row=rows, neighbor=rows, other=rows)
def test_another_neighbor_changes_no_bit(
    traced: TracedTranslator, row: SourceRow, neighbor: SourceRow, other: SourceRow
) -> None:
    assert traced.run([row, neighbor])[0] == traced.run([row, other])[0]


@settings(max_examples=40)
@given(row=rows, neighbors=st.lists(rows, max_size=17), place=st.integers(0, 17))
def test_another_number_of_neighbors_changes_no_bit(
    traced: TracedTranslator, row: SourceRow, neighbors: list[SourceRow], place: int
) -> None:
    beside = [*neighbors[:place], row, *neighbors[place:]]
    assert traced.run(beside)[min(place, len(neighbors))] == traced.run([row])[0]
