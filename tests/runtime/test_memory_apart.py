"""A generator whose keys and values are in memory that the host cannot reach. Here the provider for a CPU plays the
device: all is done as on a GPU but its kernels, and the copies between two memories.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import generate, session_of
from support.recorded_row import Recorded
from support.tiny_llama import LAYERS, WORDS, tiny_tensors, write_tiny_gguf

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.graphs.copying import copying_graph
from inferstream.pipeline.graphs.devices import HOST, DeviceMemory
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime import key_values
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.key_values import (
    DeviceKeyValues,
    HostKeyValues,
    KeyValues,
    KeyValueSize,
    TokenPlace,
)
from inferstream.pipeline.runtime.prefixes import Keeping
from inferstream.pipeline.runtime.sessions import Session

APART = DeviceMemory("cpu", apart=True)
ROWS = 4
CONTEXT = 96
KIND = np.dtype(np.float16)


@pytest.fixture(scope="module", params=["fp16", "fp32"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), request.param, folder)


@pytest.fixture(scope="module")
def near(session: Session) -> Generator:
    """Its keys and values are in the memory of the host."""
    session.memory = HOST
    return Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))


@pytest.fixture(scope="module")
def apart(session: Session) -> Generator:
    session.memory = APART
    generator = Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT), Keeping(64))
    generator.warm_up()
    return generator


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, WORDS, length).tolist()  # type: ignore[no-any-return]


prompts = st.builds(prompt, st.integers(1, 82), st.integers(0, 9))


def row(text: list[int], length: int, chunk: int | None = None) -> Recorded:
    return Recorded(text, length, chunk) if chunk else Recorded(text, length)


@settings(max_examples=15)
@given(
    texts=st.lists(prompts, min_size=1, max_size=ROWS),
    lengths=st.lists(st.integers(1, 12), min_size=ROWS, max_size=ROWS),
    chunks=st.lists(st.integers(2, 80), min_size=ROWS, max_size=ROWS),
)
def test_texts_are_those_of_the_memory_of_the_host(
    session: Session,
    near: Generator,
    apart: Generator,
    texts: list[list[int]],
    lengths: list[int],
    chunks: list[int],
) -> None:
    """Rows that end at different times are moved, and prompts that begin alike are copied."""
    made = []
    for generator in (near, apart):
        session.memory = APART if generator is apart else HOST
        rows = [row(*one) for one in zip(texts, lengths, chunks, strict=False)]
        generate(generator, rows)
        made.append([(one.generated, one.bits) for one in rows])
    assert made[0] == made[1]
    assert apart._lanes[0].memory.free_rows == ROWS


def test_what_was_read_of_a_prompt_is_copied_on_the_device(apart: Generator) -> None:
    first, second = (GeneratedRow([*prompt(40, 77), last], 4) for last in (1, 2))
    generate(apart, [first])
    generate(apart, [second])
    assert second.cached == 40


def test_only_tokens_and_scores_pass_between_host_and_device(session: Session, apart: Generator) -> None:
    session.memory = APART
    generate(apart, [GeneratedRow(prompt(20), 3)])
    memory, steps = apart._lanes[0]
    assert isinstance(memory.key_values, DeviceKeyValues)
    (run,) = [run for window, run in steps._bound.items() if window.steps == 1 and not window.scored]
    assert [view.nbytes for _, view in run._sent] == [8 * ROWS, 4 * ROWS, 8 * ROWS], "tokens, last, wanted"
    assert [view.nbytes for _, view in run._fetched] == [8 * ROWS], "the best tokens"


def test_a_step_has_one_shape_whatever_its_rows(session: Session, apart: Generator) -> None:
    session.memory = APART
    generate(apart, [GeneratedRow(prompt(20, seed), 3 + seed) for seed in range(3)])
    windows = [window for window in apart._lanes[0].steps._bound if window.steps == 1]
    assert {(window.first, window.rows) for window in windows} == {(0, ROWS)}


copies = st.tuples(*[st.integers(0, 2)] * 2, *[st.integers(0, 3)] * 2, st.integers(0, 6))


def filled(kind: str, seed: int, session: Session) -> KeyValues:
    size = KeyValueSize(LAYERS, 3, 2, 9, 8)
    numbers = np.random.default_rng(seed).normal(size=(LAYERS, *size.shape)).astype(KIND)
    if kind == "host":
        near = HostKeyValues(size, KIND)
        for array, content in zip(near.arrays, numbers, strict=True):
            array[...] = content
        return near
    made = DeviceKeyValues(size, KIND, APART, session)
    for value, content in zip(made._values, numbers, strict=True):
        value.update_inplace(content)
    return made


@pytest.fixture(scope="module")
def copying() -> Session:
    session = Session(copying_graph(2 * LAYERS, "float16"), provider="cpu")
    session.memory = APART
    return session


@given(st.lists(st.tuples(st.booleans(), copies), max_size=5))
def test_both_memories_copy_alike(copying: Session, wanted: list[tuple[bool, tuple[int, ...]]]) -> None:
    found = []
    for kind in ("host", "device"):
        one, other = (filled(kind, seed, copying) for seed in (0, 1))
        for inside, (place, to, token, to_token, count) in wanted:
            if inside and place == to:
                continue  # tokens over each other
            one.copy(
                one if inside else other, TokenPlace(place, token), TokenPlace(to, to_token), min(count, 6)
            )
        found.append([part for made in (one, other) for place in range(3) for part in made.read(place, 9)])
    assert found[0] == found[1]


def test_too_little_memory_is_one_sentence(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        @staticmethod
        def ortvalue_from_shape_and_type(*_: object) -> None:
            raise RuntimeError(
                "BFCArena::AllocateRawInternal Available memory of 1 is smaller than requested"
            )

    session.memory = APART
    monkeypatch.setattr(key_values.ort, "OrtValue", Full)
    with pytest.raises(UsageError, match=r"no memory for 0\.0 GB of keys and values: set fewer `rows`"):
        Generator(session, GeneratorSize(rows=2, context=64))


def test_a_small_memory_for_one_row(session: Session, near: Generator) -> None:
    text = prompt(9)
    session.memory = HOST
    known = generate(near, [GeneratedRow(text, 5)])
    session.memory = APART
    one = Generator(session, GeneratorSize(rows=1, context=32))
    one.warm_up()
    assert generate(one, [GeneratedRow(text, 5)]) == known
