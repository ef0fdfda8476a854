"""Prompts with one beginning that come at once share its reading, and one that is left harms no other."""

import asyncio

import pytest
from support.decoders import generate, session_of
from support.generator_rig import GeneratorRig, a_generator_rig, ids_of, tokens_of
from support.steps_rig import until
from support.tiny_llama import tiny_tensors, write_tiny_gguf

from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.prefix_index import BLOCK
from inferstream.pipeline.runtime.sessions import Session

PREFIX = "The same beginning of all of them, which is long. " * 3
TEXTS = [f"{PREFIX}{number} is its own end" for number in range(8)]
SHARED = len(PREFIX) // BLOCK * BLOCK


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), "int4", folder)


@pytest.fixture(scope="module")
def known(session: Session) -> list[list[int]]:
    """The texts, each alone."""
    generator = Generator(session, GeneratorSize(rows=1, context=250))
    return [generate(generator, [GeneratedRow(ids_of(text), 8)])[0].tokens for text in TEXTS]


def rows_of(rig: GeneratorRig) -> list[GeneratedRow]:
    return [
        row for row in {row: None for step in rig.steps for row in step.rows} if isinstance(row, GeneratedRow)
    ]


async def test_a_prefix_of_requests_that_come_at_once_is_read_once(
    session: Session, known: list[list[int]]
) -> None:
    async with a_generator_rig(session, kept=1_024, rows=8) as rig:
        answers = await asyncio.gather(*map(rig.ask, TEXTS))
        assert [tokens_of(answer) for answer in answers] == known
        rows = rows_of(rig)
        assert len(rows) == len(TEXTS)
        assert sum(row.cached for row in rows) == (len(TEXTS) - 1) * SHARED
        again = await rig.ask(TEXTS[0] + "!")
        assert tokens_of(again)
        assert rows_of(rig)[-1].cached == len(TEXTS[0]) // BLOCK * BLOCK


async def test_requests_that_are_left_while_they_read_a_prefix_change_no_other(
    session: Session, known: list[list[int]]
) -> None:
    async with a_generator_rig(session, kept=1_024, rows=8) as rig:
        rig.hold()
        asked = [rig.asked(text) for text in TEXTS]
        await until(lambda: len(rig.device.batcher) >= len(TEXTS) - 1)
        for left in (0, 3, 4):
            rig.hold(2)
            await rig.begun(len(rig.steps) + 2)
            asked[left].cancel()
            await asyncio.gather(asked[left], return_exceptions=True)
        rig.release()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for number, answer in enumerate(answers):
            if number in (0, 3, 4):
                assert isinstance(answer, asyncio.CancelledError)
            else:
                assert not isinstance(answer, BaseException)
                assert tokens_of(answer) == known[number]


async def test_what_one_tenant_has_sent_is_not_kept_for_another(
    session: Session, known: list[list[int]]
) -> None:
    async with a_generator_rig(session, kept=1_024) as rig:
        for tenant in ("acme", "other", "acme"):
            answer = await rig.ask(TEXTS[1 + len(rows_of(rig))], tenant=tenant)
            assert tokens_of(answer) == known[len(rows_of(rig))]
        assert [row.cached for row in rows_of(rig)] == [0, 0, SHARED]
