"""A worker of `generate` with two lanes: the texts of one, prompts kept for both, and figures for the operator."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.decoder_home import home_with_decoder
from support.generate_worker import generate_worker, watched_steps
from support.kafka_serving import running

from inferstream import Client
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.schemas.generation import Usage

SYSTEM = "abc" * 25
PROMPTS = [f"{SYSTEM}{number}" for number in range(12)]
OPTIONS = {"max_tokens": 30}


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with home_with_decoder(tmp_path_factory.mktemp("decoder")):
        yield


async def served(lanes: int) -> tuple[list[str], dict[str, float], Any]:
    """The texts, the metrics, and the lanes' threads that took steps."""
    async with asyncio.timeout(60), EmbeddedBroker() as broker:
        serving = generate_worker(broker, f"lanes-{lanes}", lanes=lanes)
        async with running(serving), Client(broker=broker, prefix=f"lanes-{lanes}") as client:
            usages: list[Usage] = []

            async def text(prompt: str) -> str:
                async with client.generate(prompt, options=OPTIONS) as stream:
                    told = "".join([token.text async for token in stream])
                    output = (await stream.answer()).output
                assert output.text == told
                usages.append(output.usage)
                return told

            texts = await asyncio.gather(*map(text, PROMPTS))
            metrics = {
                one.name: one.value for family in serving.metrics.registry.collect() for one in family.samples
            }
            (device,) = serving.engine.devices
            memories = device.model._lanes  # type: ignore[attr-defined]
            assert all(lane.memory.free_rows == lane.memory.rows for lane in memories)
            assert metrics["inferstream_prompt_tokens_total"] == sum(one.prompt_tokens for one in usages)
            assert metrics["inferstream_kept_tokens_total"] == sum(one.cached_tokens for one in usages)
            return texts, metrics, device.model._by_thread  # type: ignore[attr-defined]


async def test_two_lanes_give_the_texts_of_one_and_share_what_is_kept_of_prompts() -> None:
    with watched_steps():
        one, _, _ = await served(1)
        two, metrics, threads = await served(2)
    assert two == one
    assert len(threads) == 2, "both lanes took steps"
    prompts = metrics["inferstream_prompt_tokens_total"]
    kept = metrics["inferstream_kept_tokens_total"]
    assert 0 < kept < prompts, "they have the same beginning"
    assert metrics["inferstream_tokens_total"] >= prompts - kept + len(PROMPTS)
