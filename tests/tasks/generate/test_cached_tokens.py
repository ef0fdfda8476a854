"""The usage of an answer says how much of its prompt was kept; the way from the settings to the answer."""

from typing import Any

import pytest

from inferstream import Client, Edge
from inferstream.pipeline.config import CacheConfig, Config
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.runtime.prefix_index import BLOCK
from inferstream.schemas.generation import ChatMessage, GenerateOutput

SYSTEM = ChatMessage("system", "You answer questions about invoices in one sentence.")


def config(given: dict[str, Any]) -> Config:
    """Without a cache of answers: what it has says what was kept when it was made."""
    return Config(cache=CacheConfig(enabled=False), tasks={"generate": given})


async def answered(client: Client, messages: list[ChatMessage], tenant: str | None = None) -> GenerateOutput:
    options = {"max_tokens": 4}
    async with client.chat(messages, options=options, tenant=tenant) as stream:
        output = (await stream.answer()).output
    assert isinstance(output, GenerateOutput)
    return output


@pytest.mark.parametrize("shared", [False, True])
async def test_turns_and_system_messages_are_read_once(tiny: Manifest, shared: bool) -> None:
    given = {"model": tiny.name, "context": 250, "rows": 2, "shared_prefixes": shared}
    async with Edge(config(given), task="generate") as client:
        messages = [SYSTEM, ChatMessage("user", "Why?")]
        first = await answered(client, messages)
        assert first.usage.cached_tokens == 0
        turn = [*messages, ChatMessage("assistant", first.text), ChatMessage("user", "And?")]
        second = await answered(client, turn)
        assert 0 <= first.usage.prompt_tokens - second.usage.cached_tokens < BLOCK
        other = await answered(client, [SYSTEM, ChatMessage("user", "When?")], tenant="other")
        assert (other.usage.cached_tokens > len(SYSTEM.content)) == shared


async def test_nothing_is_kept_where_the_settings_say_so(tiny: Manifest) -> None:
    given = {"model": tiny.name, "context": 250, "rows": 1, "prefix_tokens": 0}
    async with Edge(config(given), task="generate") as client:
        for question in ("Why?", "When?"):
            found = await answered(client, [SYSTEM, ChatMessage("user", question)])
            assert found.usage.cached_tokens == 0
