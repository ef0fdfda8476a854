"""The options of generated texts, through queue, worker, engine and a tiny decoder."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
from support.decoder_home import TINY

from inferstream import Client, Edge
from inferstream.pipeline.errors import BadRequest
from inferstream.pipeline.models.manifest import Manifest
from inferstream.schemas.generation import GenerateOutput, Token, tokens_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "An old cat"
SCHEMA = {
    "type": "object",
    "properties": {
        "urgency": {"enum": ["low", "high"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["urgency", "tags"],
    "additionalProperties": False,
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tiny: Manifest) -> AsyncIterator[Client]:
    async with Edge(task="generate", models=(TINY,)) as client:
        yield client


async def ask(client: Client, prompt: str = PROMPT, **options: Any) -> GenerateOutput:
    answer = await client.request("generate", prompt, options={"max_tokens": 24, **options})
    return answer.output


async def cache_of(client: Client, **options: Any) -> str:
    return (await client.request("generate", PROMPT, options={"max_tokens": 8, **options})).reply.cache


DRAWN = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2},
    {"temperature": 1.0, "n": 3, "logprobs": 2},
    {"temperature": 1.0, "regex": "[a-z ]{10,30}"},
    {"temperature": 2.0, "json_schema": SCHEMA},
]


@pytest.mark.parametrize("options", DRAWN)
async def test_a_seed_gives_the_same_text_alone_and_in_company(
    client: Client, options: dict[str, Any]
) -> None:
    alone = await ask(client, "Alone", **options, seed=7)
    assert alone.choices
    # Other lengths of prompts join and leave while it runs; its own place in the batch differs.
    company = [ask(client, "x" * length, **options, seed=length) for length in (1, 40, 90, 3, 77, 130)]
    later = [
        client.request("generate", "Alone", options={"max_tokens": 24, **options, "seed": 7}, tenant="other")
    ]
    *_, again = await asyncio.gather(*company, *later)
    assert again.reply.cache in ("miss", "off")
    assert again.output.choices == alone.choices
    others = [await ask(client, "Alone", **options, seed=seed) for seed in range(8, 14)]
    assert any(other.choices != alone.choices for other in others)


async def test_choices_of_a_seed_differ_and_are_those_of_fewer(client: Client) -> None:
    three = await ask(client, temperature=1.0, seed=1, n=3)
    assert len({tuple(choice.tokens) for choice in three.choices}) == 3
    two = await ask(client, temperature=1.0, seed=1, n=2)
    assert two.choices == three.choices[:2]
    assert three.usage.generated_tokens == sum(len(choice.tokens) for choice in three.choices)


async def test_seeded_and_greedy_answers_are_cached_and_others_are_not(client: Client) -> None:
    for options in ({"logprobs": 1}, {"temperature": 1.0, "seed": 5}, {"regex": "a+"}):
        assert [await cache_of(client, **options) for _ in range(2)] == ["miss", "memory"]
    assert [await cache_of(client, temperature=1.0) for _ in range(2)] == ["miss", "miss"]


async def test_equal_requests_in_flight_are_joined_only_if_their_answers_repeat(client: Client) -> None:
    async def tokens(**options: Any) -> list[tuple[str, tuple[int, ...]]]:
        answers = await asyncio.gather(
            *(client.request("generate", "together", options={"max_tokens": 40, **options}) for _ in range(4))
        )
        return [(answer.reply.cache, tuple(answer.output.choices[0].tokens)) for answer in answers]

    seeded = await tokens(temperature=1.0, seed=3)
    assert [cache for cache, _ in seeded].count("miss") == 1
    assert len({text for _, text in seeded}) == 1
    unseeded = await tokens(temperature=1.0)
    assert len({text for _, text in unseeded}) == 4


async def test_without_a_seed_the_id_decides(client: Client) -> None:
    async def text(id: str) -> list[int]:  # noqa: A002
        answer = await client.request(
            "generate", PROMPT, options={"temperature": 1.0, "max_tokens": 16}, id=id
        )
        return answer.output.choices[0].tokens

    assert await text("one") == await text("one")
    assert await text("one") != await text("two")


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 2}, {"temperature": 1.5, "seed": 4}])
async def test_a_text_of_a_grammar_parses_or_has_reached_its_length(
    client: Client, options: dict[str, Any]
) -> None:
    ended = []
    for limit in (1, 5, 20, 60):
        output = await ask(client, json_schema=SCHEMA, **options | {"max_tokens": limit})
        (choice,) = output.choices
        ended.append(choice.ended_by)
        if choice.ended_by == "end":
            jsonschema.validate(json.loads(choice.text), SCHEMA)
        else:
            assert choice.ended_by == "length"
            assert len(choice.tokens) == limit
    assert ended[0] == "length"
    assert ended[-1] == "end"


async def test_a_text_of_an_expression(client: Client) -> None:
    output = await ask(client, regex=r"(ja|nein)(, danke)? ä😀", temperature=1.0, n=4, max_tokens=60)
    for choice in output.choices:
        assert choice.ended_by == "end"
        assert re.fullmatch(r"(ja|nein)(, danke)? ä😀", choice.text)


async def test_a_stop_string_ends_a_text_of_a_grammar(client: Client) -> None:
    (choice,) = (await ask(client, regex="abc[xyz]{3}def", stop=["de"])).choices
    assert (choice.text[:3], choice.text[6:], choice.ended_by) == ("abc", "", "stop")


async def test_logprobs_are_in_pieces_and_choices(client: Client) -> None:
    options = {
        "logprobs": 3,
        "max_tokens": 12,
        "n": 2,
        "temperature": 1.0,
        "seed": 3,
        "repetition_penalty": 1.1,
    }
    async with client.generate(PROMPT, options=options) as stream:
        pieces: list[Token] = [piece async for piece in stream]
        output = (await stream.answer()).output
    assert pieces == tokens_of(output)
    for choice in output.choices:
        assert isinstance(choice.logprobs, list)
        assert len(choice.logprobs) == len(choice.tokens) == 12
        for token, found in zip(choice.tokens, choice.logprobs, strict=True):
            assert [one.logprob for one in found.top] == sorted(
                (one.logprob for one in found.top), reverse=True
            )
            assert len(found.top) == 3
            assert sum(math.exp(one.logprob) for one in found.top) < 1
            for one in found.top:
                assert one.token != token or one.logprob == found.logprob


async def test_greedy_logprobs_are_of_the_text_without_them(client: Client) -> None:
    plain = await ask(client)
    told = await ask(client, logprobs=1)
    (choice,) = told.choices
    assert choice.tokens == plain.choices[0].tokens
    assert isinstance(choice.logprobs, list)
    assert all(
        found.top[0].token == token for token, found in zip(choice.tokens, choice.logprobs, strict=True)
    )


async def test_a_penalty_keeps_greedy_text_from_repeating_itself(client: Client) -> None:
    plain = (await ask(client, max_tokens=60)).choices[0].tokens
    varied = (await ask(client, max_tokens=60, repetition_penalty=5.0)).choices[0].tokens
    assert len(set(varied)) > len(set(plain))


REFUSED = [
    ({"regex": r"[^\s\S]"}, "no text matches it"),
    ({"regex": "("}, "unclosed group"),
    ({"json_schema": {"$ref": "#"}}, "no text matches it"),
    ({"json_schema": {"enum": []}}, "Unsatisfiable"),
    ({"json_schema": False}, "JSON Schema"),
    ({"json_schema": {}, "regex": "a"}, "leave one"),
    ({"temperature": math.nan}, "JSON|temperature"),
    ({"temperature": -1}, "'temperature'"),
    ({"temperature": 1e9}, "'temperature'"),
    ({"top_p": 0}, "'top_p'"),
    ({"seed": -1}, "'seed'"),
    ({"seed": 2**64 + 1}, "'seed'"),
    ({"logprobs": 1_000_000}, "'logprobs'"),
    ({"top_k": -1}, "'top_k'"),
    ({"repetition_penalty": 0}, "'repetition_penalty'"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
async def test_an_option_that_is_of_no_use_has_its_sentence(
    client: Client, options: dict[str, Any], reason: str
) -> None:
    neighbor = asyncio.create_task(ask(client, "A neighbor", temperature=1.0, seed=1))
    with pytest.raises(Exception, match=reason) as caught:
        await ask(client, **options)
    assert "\n" not in str(caught.value)
    assert (await neighbor).choices[0].tokens


async def test_a_grammar_that_ends_nowhere_fails_alone(client: Client) -> None:
    again = {"$ref": "#/$defs/again"}
    schema = {
        "type": "object", "properties": {"a": again}, "required": ["a"], "additionalProperties": False,
        "$defs": {"again": {"allOf": [again]}},
    }  # fmt: skip
    expected = await ask(client, "A neighbor", temperature=1.0, seed=11)
    neighbors = [
        client.request(
            "generate",
            "A neighbor",
            options={"max_tokens": 24, "temperature": 1.0, "seed": 11},
            tenant=str(number),
        )
        for number in range(3)
    ]
    failing = ask(client, json_schema=schema, max_tokens=60)
    *texts, failed = await asyncio.gather(*neighbors, failing, return_exceptions=True)
    assert isinstance(failed, BadRequest)
    assert "no text can go on" in str(failed)
    assert [text.output.choices for text in texts] == [expected.choices] * 3  # type: ignore[union-attr]


async def test_the_edges_of_what_is_allowed(client: Client) -> None:
    greedy = (await ask(client)).choices[0].tokens
    for options in (
        {"temperature": 1e-9},
        {"temperature": 1.0, "top_p": 1e-300},
        {"temperature": 100, "top_k": 1},
    ):
        assert (await ask(client, **options)).choices[0].tokens == greedy
    uniform = await ask(client, temperature=100, min_p=0.0, seed=2**63 - 1)
    assert len(set(uniform.choices[0].tokens)) > 12
