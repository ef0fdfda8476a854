"""The golden bytes of the task `generate`, and the tokens of an answer."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from inferstream.schemas.codec import decode_reply, decode_request, encode
from inferstream.schemas.generation import (
    ChatMessage,
    Choice,
    GenerateOptions,
    GenerateOutput,
    GenerateRequest,
    Token,
    TokenLogprobs,
    Usage,
    tokens_of,
)
from inferstream.schemas.messages import Chunk, Result

GOLDEN = Path(__file__).parent / "golden" / "v1"
REQUEST = GenerateRequest(
    messages=[ChatMessage("system", "Be brief."), ChatMessage("user", "Tell me a story")],
    id="g1",
    options={"max_tokens": 64, "stop": ["\n\n"]},
    stream=True,
)
OUTPUT = GenerateOutput([Choice("Once and", [8434, 284], [4, 4], "end")], Usage(31, 24, 2))


def test_golden_requests_and_answers_are_read_and_written() -> None:
    golden = (GOLDEN / "generate-request.json").read_bytes()
    assert encode(REQUEST) == golden
    assert decode_request(golden, GenerateRequest) == REQUEST
    assert msgspec.convert(REQUEST.options, GenerateOptions).max_tokens == 64
    tokens = msgspec.Raw(msgspec.json.encode([Token(8434, "Once"), Token(284, " and")]))
    chunk = Chunk("g1", 0, "generate", "smollm2-135m-int4", "47886d1b2311", 0, tokens)
    result = Result(
        "g1",
        "generate",
        "smollm2-135m-int4",
        "47886d1b2311",
        msgspec.Raw(msgspec.json.encode(OUTPUT)),
        seq=1,
    )
    for name, reply in (("reply-chunk-of-tokens", chunk), ("reply-generate", result)):
        golden = (GOLDEN / f"{name}.json").read_bytes()
        assert encode(reply) == golden
        assert decode_reply(golden) == reply
    assert OUTPUT.text == "Once and"
    without = msgspec.json.encode(OUTPUT).replace(b',"text":"Once and"}', b"}")
    assert msgspec.json.decode(without, type=GenerateOutput) == OUTPUT, "of a worker that did not tell it"


TEXTS = st.lists(st.text("a😀", max_size=3), max_size=5)


@given(choices=st.lists(TEXTS, min_size=1, max_size=3), told=st.booleans())
def test_the_tokens_of_an_answer_are_those_that_chunks_bring(choices: list[list[str]], told: bool) -> None:
    """Also behind JSON, and with logarithms."""
    chances = [[TokenLogprobs(-0.5) for _ in texts] for texts in choices] if told else None
    output = GenerateOutput(
        [
            Choice(
                "".join(texts),
                [*range(len(texts))],
                [*map(len, texts)],
                "length",
                chances[number] if chances else msgspec.UNSET,
            )
            for number, texts in enumerate(choices)
        ],
        Usage(1, 0, 0),
    )
    read = msgspec.json.decode(msgspec.json.encode(output), type=GenerateOutput)
    assert tokens_of(read) == [
        Token(index, text, number, chances[number][index] if chances else msgspec.UNSET)
        for number, texts in enumerate(choices)
        for index, text in enumerate(texts)
    ]
