"""A generator without an engine: company, chunks, places in the memory, limits, failures."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import generate, session_of
from support.recorded_row import Recorded
from support.tiny_llama import WORDS, tiny_tensors, write_tiny_gguf

from inferstream.pipeline.errors import (
    DeviceError,
    DeviceLost,
    DeviceOutOfMemory,
)
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime import sessions
from inferstream.pipeline.runtime.bound_steps import BoundSteps, RowWindow, StepResult
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow, Generation
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import Last, More, Row

ROWS = 4
CONTEXT = 96


@pytest.fixture(scope="module", params=["fp32", "int8", "int4"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), request.param, folder)


@pytest.fixture(scope="module", params=["cold", "warm"])
def generator(session: sessions.Session, request: pytest.FixtureRequest) -> Generator:
    generator = Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))
    if request.param == "warm":  # then one row alone, where this CPU allows it
        generator.warm_up()
    return generator


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, WORDS, length).tolist()  # type: ignore[no-any-return]


def free_rows(generator: Generator) -> int:
    return generator._lanes[0].memory.free_rows


prompts = st.builds(prompt, st.integers(1, 82), st.integers(0, 9_999))


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(prompts, min_size=1, max_size=ROWS),
    lengths=st.lists(st.integers(1, 12), min_size=ROWS, max_size=ROWS),
    chunks=st.lists(st.integers(1, 80), min_size=ROWS, max_size=ROWS),
)
def test_company_and_chunks_change_no_bit(
    generator: Generator, texts: list[list[int]], lengths: list[int], chunks: list[int]
) -> None:
    alone = [Recorded(text, length) for text, length in zip(texts, lengths, strict=False)]
    for row in alone:
        generate(generator, [row])
    together = [
        Recorded(text, length, chunk) for text, length, chunk in zip(texts, lengths, chunks, strict=False)
    ]
    generate(generator, together)
    assert [row.generated for row in together] == [row.generated for row in alone]
    assert [row.bits for row in together] == [row.bits for row in alone]
    assert free_rows(generator) == ROWS


@settings(max_examples=15, deadline=None)
@given(text=prompts, told=st.integers(1, 9), neighbor=prompts)
def test_a_text_that_is_resumed_goes_on_with_the_same_bits(
    generator: Generator, text: list[int], told: int, neighbor: list[int]
) -> None:
    whole = Recorded(text, 12)
    generate(generator, [whole])
    resumed = Recorded(text, 12, 5, forced=whole.generated[:told])
    generate(generator, [Recorded(neighbor, 3), resumed])
    assert resumed.generated == whole.generated
    assert resumed.bits == whole.bits[told:]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rows_come_go_and_are_dropped_in_any_order(session: sessions.Session, data: st.DataObject) -> None:
    """As an engine may run them: any rows of a phase, in any order, and drops between two steps."""
    generator = Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))
    live: list[GeneratedRow] = []
    ended: list[GeneratedRow] = []
    for number in range(data.draw(st.integers(3, 16))):
        if len(live) < ROWS:
            live.append(GeneratedRow(prompt(data.draw(st.integers(1, 40)), number), 6))
        phase = data.draw(st.sampled_from(sorted({row.phase for row in live})))
        able = [row for row in live if row.phase == phase]
        batch = data.draw(st.permutations(able))[: data.draw(st.integers(1, len(able)))]
        ended += [
            row for row, result in zip(batch, generator.step(batch), strict=True) if isinstance(result, Last)
        ]
        live = [row for row in live if row not in ended]
        if live and data.draw(st.booleans()):
            generator.drop([live.pop(data.draw(st.integers(0, len(live) - 1)))])
    generate(generator, live)
    assert free_rows(generator) == ROWS
    other = Generator(session, GeneratorSize(rows=1, context=CONTEXT))
    for row in [*ended, *live]:
        assert row.generated == generate(other, [GeneratedRow(row.prompt, 6)])[0].tokens


def test_a_row_that_is_dropped_between_two_reads_moves_no_half_read_row(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread drops a row while new rows are read: the places move before the reads, or behind them."""
    generator = Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))
    texts = [prompt(20, seed) for seed in range(3)]
    known = [generate(generator, [GeneratedRow(text, 5)])[0] for text in texts]
    first = GeneratedRow(texts[0], 5)
    generator.step([first])
    run = BoundSteps.run

    def dropping(self: BoundSteps, window: RowWindow, *others: Any) -> StepResult:
        result = run(self, window, *others)
        generator.drop([first])
        return result

    rows = [GeneratedRow(text, 5) for text in texts[1:]]
    with monkeypatch.context() as patched:
        patched.setattr(BoundSteps, "run", dropping)
        generator.step(rows)
    assert generate(generator, rows) == known[1:]
    assert free_rows(generator) == ROWS


def test_a_row_may_be_dropped_twice_and_while_it_runs(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))
    row = GeneratedRow(prompt(9), 2)
    generator.step([row])
    held = row.state
    run = BoundSteps.run

    def dropping(self: BoundSteps, window: RowWindow, *others: Any) -> StepResult:
        generator.drop([row])
        return run(self, window, *others)

    with monkeypatch.context() as patched:
        patched.setattr(BoundSteps, "run", dropping)
        assert isinstance(generator.step([row])[0], Last)
    held.memory.free(held)
    assert free_rows(generator) == ROWS


def test_ends_and_limits(generator: Generator) -> None:
    (whole,) = generate(generator, [GeneratedRow(prompt(5), 12)])
    assert not whole.ended
    assert len(whole.tokens) == 12
    end = whole.tokens[4]
    (stopped,) = generate(generator, [GeneratedRow(prompt(5), 12, ends={end})])
    assert stopped == Generation(whole.tokens[: whole.tokens.index(end)], ended=True)
    (one,) = generate(generator, [GeneratedRow(prompt(5), 1)])
    assert one.tokens == whole.tokens[:1]
    (full,) = generate(generator, [GeneratedRow(prompt(CONTEXT), 12)])
    assert len(full.tokens) == 1, "no place is left for it"
    assert free_rows(generator) == ROWS


def test_phases_and_what_the_scheduler_reads(generator: Generator) -> None:
    row = GeneratedRow(prompt(70), 3)
    assert (row.phase, row.length, row.phase_left, row.steps_left) == (PREFILL, 64, 1.0, 3.0)
    assert generator.step([row]) == [More()]
    assert (row.phase, row.length, row.phase_left, row.steps_left) == (PREFILL, 6, 0.0, 2.0)
    assert len(generator.step([row])[0].pieces) == 1
    assert (row.phase, row.length, row.phase_left, row.steps_left) == (DECODE, 1, 0.0, 1.0)
    generator.step([row])
    (last,) = generator.step([row])
    assert isinstance(last, Last)
    assert last.output.tokens[-1:] == list(last.pieces)


@pytest.mark.parametrize("length", [0, CONTEXT + 1])
def test_a_prompt_that_does_not_fit_fails_alone(generator: Generator, length: int) -> None:
    with pytest.raises(DeviceError, match=f"has {length} tokens; it must have 1 to {CONTEXT}"):
        generator.step([GeneratedRow(prompt(3), 4), GeneratedRow(prompt(length), 4)])
    assert free_rows(generator) == ROWS
    with pytest.raises(DeviceError, match="Only rows of a generator"):
        generator.step([Row([1, 2])])


def test_without_a_free_row_the_others_go_on(generator: Generator) -> None:
    rows = [GeneratedRow(prompt(9, seed), 4) for seed in range(ROWS)]
    for row in rows:
        generator.step([row])
    one_more = GeneratedRow(prompt(9, 9), 4)
    with pytest.raises(DeviceOutOfMemory, match=f"All {ROWS} rows"):
        generator.step([one_more])
    assert one_more.state is None
    generator.drop(rows[:1])
    assert isinstance(generator.step([one_more])[0], More)
    rest = [*rows[1:], one_more]
    while any(isinstance(result, More) for result in generator.step(rest)):
        pass
    for row in rest:
        assert row.generated == generate(generator, [GeneratedRow(row.prompt, 4)])[0].tokens
    assert free_rows(generator) == ROWS


@pytest.mark.parametrize("lost", [DeviceLost, DeviceOutOfMemory, DeviceError])
def test_a_step_that_fails_leaves_its_rows_as_they_were(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, lost: type[Exception]
) -> None:
    texts = [prompt(20, 1), prompt(30, 2), prompt(1, 3)]
    known = [generate(generator, [GeneratedRow(text, 6)])[0].tokens for text in texts]
    rows = [GeneratedRow(text, 6) for text in texts]
    run = sessions.BoundRun.run
    runs = 0

    def fails_first(self: sessions.BoundRun) -> None:
        nonlocal runs
        runs += 1
        run(self)
        if runs % 2:  # it has written to the memory already
            raise lost("failed as planted")

    monkeypatch.setattr(sessions.BoundRun, "run", fails_first)
    live = list(rows)
    while live:
        batch = [row for row in live if row.phase == live[0].phase][: 1 if live[0].phase == PREFILL else None]
        before = [(row.tokens, row.phase, list(row.generated), row.read) for row in batch]
        try:
            results = generator.step(batch)
        except lost:
            assert before == [(row.tokens, row.phase, row.generated, row.read) for row in batch]
            continue
        live = [row for row in live if row not in batch] + [
            row for row, result in zip(batch, results, strict=True) if isinstance(result, More)
        ]
    assert [row.generated for row in rows] == known
    assert free_rows(generator) == ROWS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Failed to allocate memory for requested buffer of size 12", DeviceOutOfMemory),
        ("CUDA failure 700: an illegal memory access was encountered", DeviceLost),
        ("Invalid argument: indices element out of data bounds", DeviceError),
    ],
)
def test_what_the_runtime_raises_has_our_classes(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch, words: str, expected: type[Exception]
) -> None:
    class Broken:
        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def run_with_iobinding(self, binding: object) -> None:
            raise RuntimeError(words)

    monkeypatch.setattr(session, "_session", Broken(session._session))
    generator = Generator(session, GeneratorSize(rows=1, context=64))
    with pytest.raises(expected):
        generator.step([GeneratedRow(prompt(4), 2)])
    assert free_rows(generator) == 1


def test_each_thread_has_its_lane(session: sessions.Session) -> None:
    generator = Generator(session, GeneratorSize(lanes=2, rows=2, context=64))
    assert generator.memory_bytes == 2 * 2 * 4 * 3 * 2 * 66 * 16 * 4
    generator.warm_up()
    texts = [prompt(20, seed) for seed in range(4)]
    known = [generate(generator, [GeneratedRow(text, 8)])[0] for text in texts]
    row = GeneratedRow(texts[0], 8)
    generator.step([row])
    with ThreadPoolExecutor(1) as second, ThreadPoolExecutor(1) as third:
        with pytest.raises(DeviceError, match="on one lane"):
            second.submit(generator.step, [row]).result()
        others = second.submit(generate, generator, [GeneratedRow(text, 8) for text in texts[2:]])
        assert generate(generator, [GeneratedRow(texts[1], 8)]) == known[1:2]
        assert others.result() == known[2:]
        with pytest.raises(DeviceError, match="memory for 2 lanes"):
            third.submit(generator.step, [GeneratedRow(texts[0], 1)]).result()
    generator.drop([row])


def test_a_row_alone_is_one_row_only_where_the_cpu_gives_it_the_same_bits(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    run = BoundSteps.run

    def noted(self: BoundSteps, window: RowWindow, *others: Any) -> StepResult:
        shapes.append((window.rows, window.steps))
        return run(self, window, *others)

    def changed(self: BoundSteps, window: RowWindow, *others: Any) -> StepResult:
        """A CPU whose kernels for one row add in another order."""
        result = run(self, window, *others)
        if (window.rows, window.steps) == (1, 1):
            result.scores[0, 0] = np.nextafter(result.scores[0, 0], np.float32(9e9))
        return result

    text = prompt(6)
    with monkeypatch.context() as patched:
        patched.setattr(BoundSteps, "run", changed)
        other = Generator(session, GeneratorSize(rows=2, context=64))
        other.warm_up()
    monkeypatch.setattr(BoundSteps, "run", noted)
    (found,) = generate(other, [GeneratedRow(text, 4)])
    assert shapes == [(1, 6), (2, 1), (2, 1), (2, 1)]
    native = Generator(session, GeneratorSize(rows=2, context=64))
    native.warm_up()
    assert generate(native, [GeneratedRow(text, 4)]) == [found]
