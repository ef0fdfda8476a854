"""A fitted model that is served by its static tier: the whole pipeline, without an encoder in sight."""

import asyncio
from pathlib import Path

import pytest
from support.static_tiers import save_static_head

from inferstream import BlankText, Config, Edge, TooLarge, TriageOutput, UnknownModel
from inferstream.pipeline.config import CacheConfig, LimitConfig

LABELS = ("refund", "login", "parcel")
CONFIG = Config(cache=CacheConfig(disk_bytes=0))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    save_static_head(tmp_path, "shop", LABELS)
    return tmp_path


async def test_it_answers_with_no_encoder_on_this_machine(home: Path) -> None:
    assert not (home / "models").exists()
    async with Edge(CONFIG, models=["shop"]) as client:
        first, again = [await client.request("triage", "my parcel is late") for _ in range(2)]
        with pytest.raises(UnknownModel):
            await client.request("triage", "a", model="minilm-int8")
    assert isinstance(first.output, TriageOutput)
    assert (first.output.tier, first.reply.model) == ("static", "shop")
    assert (first.reply.cache, again.reply.cache) == ("miss", "memory")
    assert first.reply.batch is None, "it has run on no device"
    assert first.output == again.output


async def test_many_texts_at_once_and_those_that_are_refused() -> None:
    async with Edge(Config(limits=LimitConfig(max_request_tokens=500)), models=["shop"]) as client:
        answers = await asyncio.gather(
            *(client.request("triage", f"my parcel {number}") for number in range(300)),
            client.request("triage", "\u200b\u200c"),
            client.request("triage", "card " * 5_000),
            return_exceptions=True,
        )
    assert all(isinstance(answer.output, TriageOutput) for answer in answers[:300])  # type: ignore[union-attr]
    assert isinstance(answers[300], BlankText)
    assert isinstance(answers[301], TooLarge)


async def test_two_models_without_a_graph_in_one_worker(home: Path) -> None:
    save_static_head(home, "other", LABELS[::-1], routes={"login": "accounts"})
    async with Edge(CONFIG, models=["shop", "other"]) as client:
        for model in ("shop", "other"):
            assert (await client.request("triage", "login", model=model)).reply.model == model
