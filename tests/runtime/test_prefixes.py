"""Kept beginnings of prompts: no bit changes, what is shared is computed once, and what ends a step harms nothing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import generate, session_of
from support.recorded_row import Recorded
from support.tiny_llama import WORDS, tiny_tensors, write_tiny_gguf

from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime import prefixes, sessions
from inferstream.pipeline.runtime.bound_steps import BoundSteps, RowWindow, StepResult
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import Last, More
from inferstream.pipeline.runtime.prefix_index import BLOCK
from inferstream.pipeline.runtime.prefixes import Keeping

ROWS = 4
CONTEXT = 160
PREFIX = 83
SHARED = PREFIX // BLOCK * BLOCK


@pytest.fixture(scope="module", params=["fp32", "int8", "int4"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), request.param, folder)


@pytest.fixture(scope="module")
def plain(session: sessions.Session) -> Generator:
    return Generator(session, GeneratorSize(rows=ROWS, context=CONTEXT))


def keeping(session: sessions.Session, tokens: int = 1_024, lanes: int = 1, **others: Any) -> Generator:
    size = GeneratorSize(lanes=lanes, rows=ROWS, context=CONTEXT)
    return Generator(session, size, Keeping(tokens, **others))


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, WORDS, length).tolist()  # type: ignore[no-any-return]


def sharing(seed: int, own: int = 20) -> list[int]:
    """A prompt with the prefix of all, and some tokens of its own."""
    return prompt(PREFIX, 77) + prompt(own, seed + 1_000)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each run of a chunk."""
    found: list[int] = []
    run = BoundSteps.run

    def noted(self: BoundSteps, window: RowWindow, *others: Any) -> StepResult:
        if window.steps > 1:
            found.append(window.steps)
        return run(self, window, *others)

    monkeypatch.setattr(BoundSteps, "run", noted)
    return found


parts = st.builds(prompt, st.integers(1, 40), st.integers(0, 3))
related = st.lists(parts, min_size=1, max_size=4).map(lambda some: [token for part in some for token in part])


@settings(max_examples=40, deadline=None)
@given(
    waves=st.lists(st.lists(related, min_size=1, max_size=ROWS), min_size=1, max_size=4),
    tokens=st.sampled_from([8, 40, 96, 1_024]),
    chunks=st.lists(st.integers(1, 64), min_size=ROWS, max_size=ROWS),
    data=st.data(),
)
def test_kept_beginnings_change_no_bit(
    session: sessions.Session,
    plain: Generator,
    waves: list[list[list[int]]],
    tokens: int,
    chunks: list[int],
    data: st.DataObject,
) -> None:
    """Prompts of common parts, some all at once and some later, much memory and little; a row may be resumed."""
    generator = keeping(session, tokens)
    for texts in waves:
        alone = [Recorded(text[: CONTEXT - 8], 5) for text in texts]
        for row in alone:
            generate(plain, [row])
        known = data.draw(st.integers(0, 2))
        together = [
            Recorded(row.prompt, 5, chunk, forced=row.generated[:known])
            for row, chunk in zip(alone, chunks, strict=False)
        ]
        generate(generator, together)
        assert [row.generated for row in together] == [row.generated for row in alone]
        assert [row.bits for row in together] == [row.bits[known:] for row in alone]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_prompts_share_is_computed_once(
    session: sessions.Session, plain: Generator, computed: list[int], at_once: bool
) -> None:
    generator = keeping(session)
    rows = [GeneratedRow(sharing(seed), 3) for seed in range(ROWS)]
    known = [generate(plain, [GeneratedRow(row.prompt, 3)])[0] for row in rows]
    computed.clear()
    found = generate(generator, rows) if at_once else [generate(generator, [row])[0] for row in rows]
    assert found == known
    own = len(rows[0].prompt) - SHARED
    # A chunk of an odd length is one token longer; one that reaches behind the common blocks is one row's own.
    assert sum(computed) <= SHARED + ROWS * (own + own % 2) + 2
    assert sum(row.cached for row in rows) == (ROWS - 1) * SHARED


def test_rows_that_start_together_go_on_from_what_the_others_have_read(session: sessions.Session) -> None:
    generator = keeping(session)
    rows = [GeneratedRow(sharing(seed), 2) for seed in range(3)]
    first, *others = generator.step(rows)
    assert first == More()
    assert [len(result.pieces) for result in others] == [1, 1], "these have read their prompts"
    assert [row.cached for row in rows] == [0, 64, SHARED]
    assert [row.skipped for row in rows] == [0, 64 - 39, 64 - 23]
    generator.step(rows[:1])
    assert rows[0].cached == SHARED - 64
    generator.drop(rows)


def test_all_lanes_share_what_is_kept(session: sessions.Session) -> None:
    generator = keeping(session, lanes=2)
    first, second = GeneratedRow(sharing(1), 4), GeneratedRow(sharing(1), 4)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        (known,) = one.submit(generate, generator, [first]).result()
        assert other.submit(generate, generator, [second]).result() == [known]
    assert second.cached == (len(second.prompt) - 1) // BLOCK * BLOCK


def test_a_prefix_that_another_lane_reads_is_found_at_a_later_chunk(session: sessions.Session) -> None:
    generator = keeping(session, lanes=2)
    first, second = GeneratedRow(sharing(1), 2), GeneratedRow(sharing(2), 2)
    second.chunk = 16
    second.next_chunk()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        other.submit(generator.step, [second]).result()
        one.submit(generate, generator, [first]).result()
        other.submit(generate, generator, [second]).result()
    assert first.cached == 16
    assert second.cached == SHARED - 16


def test_a_turn_goes_on_from_the_last_prompt_and_reads_its_answer(
    session: sessions.Session, plain: Generator
) -> None:
    generator = keeping(session)
    asked = GeneratedRow(prompt(50), 30)
    generate(generator, [asked])
    turn = Recorded([*asked.prompt, *asked.generated, *prompt(12, 5)], 6)
    fresh = Recorded(turn.prompt, 6)
    generate(generator, [turn])
    generate(plain, [fresh])
    assert turn.cached == 48, "the keys of generated tokens differ in their last bits"
    assert turn.bits == fresh.bits


def test_the_last_token_is_computed_again(session: sessions.Session, plain: Generator) -> None:
    generator = keeping(session)
    for length in (1, BLOCK, 4 * BLOCK, 4 * BLOCK + 1):
        first, again, fresh = (Recorded(prompt(length), 4) for _ in range(3))
        generate(generator, [first])
        generate(generator, [again])
        generate(plain, [fresh])
        assert again.cached == (length - 1) // BLOCK * BLOCK
        assert again.bits == first.bits == fresh.bits


def test_tenants_share_nothing_unless_it_is_asked_for(session: sessions.Session) -> None:
    def cached(generator: Generator, tenant: str) -> int:
        row = GeneratedRow(prompt(40), 1)
        row.tenant = tenant
        generate(generator, [row])
        return row.cached

    apart = keeping(session)
    assert [cached(apart, tenant) for tenant in ("acme", "other", "", "acme")] == [0, 0, 0, 32]
    together = keeping(session, across_tenants=True)
    assert [cached(together, tenant) for tenant in ("acme", "other", "")] == [0, 32, 32]


def test_nothing_is_kept_unless_it_is_asked_for(plain: Generator) -> None:
    for _ in range(2):
        row = GeneratedRow(prompt(40), 1)
        generate(plain, [row])
        assert row.cached == 0


def test_the_memory_is_fixed_at_the_start(session: sessions.Session, plain: Generator) -> None:
    per_token = 2 * 4 * 2 * 16 * 4  # keys and values, layers, heads, width, bytes
    generator = keeping(session, 100)
    assert generator.memory_bytes - plain.memory_bytes == 96 * per_token
    for seed in range(30):
        generate(generator, [GeneratedRow(prompt(60, seed), 1)])
    assert generator.memory_bytes - plain.memory_bytes == 96 * per_token
    assert len(generator._prefixes._index) == 12


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rows_come_go_and_are_dropped_in_any_order(
    session: sessions.Session, plain: Generator, data: st.DataObject
) -> None:
    """As an engine may run them, with places that move between chunks, and kept blocks that go and come."""
    generator = keeping(session, data.draw(st.sampled_from([40, 200])))
    live: list[GeneratedRow] = []
    ended: list[GeneratedRow] = []
    for _ in range(data.draw(st.integers(3, 20))):
        if len(live) < ROWS:
            row = GeneratedRow(data.draw(related)[: CONTEXT - 8], 6)
            row.chunk = data.draw(st.sampled_from([7, 16, 64]))
            row.next_chunk()
            live.append(row)
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
    assert generator._lanes[0].memory.free_rows == ROWS
    for row in [*ended, *live]:
        assert row.generated == generate(plain, [GeneratedRow(row.prompt, 6)])[0].tokens


@pytest.mark.parametrize("error", [DeviceError, DeviceOutOfMemory])
def test_a_step_that_fails_leaves_its_rows_as_they_were(
    session: sessions.Session, plain: Generator, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    generator = keeping(session)
    generate(generator, [GeneratedRow(sharing(0), 1)])
    rows = [GeneratedRow(sharing(seed), 5) for seed in (1, 2)]
    known = [generate(plain, [GeneratedRow(row.prompt, 5)])[0] for row in rows]
    before = [(row.tokens, row.length, row.read, row.cached, row.skipped, row.state) for row in rows]
    run = sessions.BoundRun.run
    runs = 0

    def fails_second(self: sessions.BoundRun) -> None:
        nonlocal runs
        runs += 1
        run(self)
        if runs == 2:
            raise error("failed as planted")

    with monkeypatch.context() as patched:
        patched.setattr(sessions.BoundRun, "run", fails_second)
        with pytest.raises(error):
            generator.step(rows)
    assert before == [(row.tokens, row.length, row.read, row.cached, row.skipped, row.state) for row in rows]
    assert generator._lanes[0].memory.free_rows == ROWS
    assert generate(generator, rows[1:]) == known[1:]
    assert generate(generator, rows[:1]) == known[:1]
    assert rows[0].cached > SHARED, "its own part was read before the failure"


def test_a_copy_that_fails_keeps_nothing(
    session: sessions.Session, plain: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = keeping(session)
    row = GeneratedRow(prompt(40), 4)
    (known,) = generate(plain, [GeneratedRow(row.prompt, 4)])
    runs = prefixes._runs

    def broken(first: int, slots: Sequence[int]) -> Any:
        yield next(runs(first, slots[:1]))
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(prefixes, "_runs", broken)
        with pytest.raises(MemoryError):
            generator.step([row])
    assert generate(generator, [row]) == [known]
    assert row.cached == 0


def test_a_row_that_is_dropped_while_it_is_copied(
    session: sessions.Session, plain: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread drops the row in the middle of a copy; another row takes its place behind it."""
    generator = keeping(session)
    generate(generator, [GeneratedRow(sharing(0), 1)])
    row, neighbor = GeneratedRow(sharing(1, own=40), 4), GeneratedRow(sharing(2), 6)
    row.chunk = 16
    row.next_chunk()
    generator.step([row])
    generator.step([neighbor])
    dropping = Event()
    runs = prefixes._runs

    def dropped(first: int, slots: Sequence[int]) -> Any:
        if not dropping.is_set():
            dropping.set()
            with ThreadPoolExecutor(1) as other:
                other.submit(generator.drop, [row]).result()
        yield from runs(first, slots)

    monkeypatch.setattr(prefixes, "_runs", dropped)
    generator.step([row])
    assert dropping.is_set()
    third = GeneratedRow(sharing(3), 6)
    for one in (neighbor, third):
        (known,) = generate(plain, [GeneratedRow(one.prompt, 6)])
        assert generate(generator, [one]) == [known]
