"""The tokenizer inside of a GGUF file: what it makes of texts, and what is refused by its name."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_llama import CHAT, KINDS, MERGES, TOKENIZER, TOKENS
from tokenizers import Tokenizer

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.optimize.pull.decoders.gguf_tokenizer import (
    SPLITTINGS,
    chat_of,
    ends_of,
    tokenizer_of,
)

PATH = Path("m.gguf")


def tokenizer(**changed: Any) -> Tokenizer:
    return tokenizer_of(
        TOKENIZER | {f"tokenizer.ggml.{name}": value for name, value in changed.items()}, PATH
    )


@pytest.mark.parametrize("name", SPLITTINGS)
def test_every_splitting_keeps_every_text(name: str) -> None:
    found = tokenizer(pre=name, add_bos_token=False)

    @given(text=st.text())
    def check(text: str) -> None:
        import unicodedata

        kept = unicodedata.normalize("NFC", text) if SPLITTINGS[name].composed else text
        ids = found.encode(text).ids
        assert found.decode(ids, skip_special_tokens=False) == kept
        assert all(0 <= token < len(TOKENS) for token in ids)

    check()


def test_merges_digits_and_special_tokens() -> None:
    found = tokenizer()
    assert found.encode("abc ab").tokens == ["abc", "Ġ", "ab"]
    assert found.encode("12").tokens == ["1", "2"]
    assert found.encode("<s>ab</s><tool>").tokens == ["<s>", "ab", "</s>", "<tool>"]
    assert found.decode(found.encode("<s>ab<tool>").ids) == "ab<tool>", "a tool's token is text"


def test_a_beginning_is_added_where_the_file_asks_for_it() -> None:
    assert tokenizer(add_bos_token=True).encode("ab").tokens == ["<s>", "ab"]
    assert tokenizer(add_bos_token=False).encode("ab").tokens == ["ab"]
    with pytest.raises(UsageError, match=r"add_bos_token and no token as tokenizer\.ggml\.bos_token_id"):
        tokenizer(add_bos_token=True, bos_token_id=None)


def test_llama_3_and_tekken_begin_with_a_token_unless_the_file_says_no() -> None:
    """As in llama.cpp. The file of SmolLM3 names the same words otherwise, `smaug-bpe`, and has no beginning."""
    for pre in ("llama-bpe", "llama3", "tekken"):
        assert tokenizer(pre=pre).encode("ab").tokens == ["<s>", "ab"]
        assert tokenizer(pre=pre, add_bos_token=False).encode("ab").tokens == ["ab"]
        assert tokenizer(pre=pre, bos_token_id=None).encode("ab").tokens == ["ab"]
    assert tokenizer(pre="smaug-bpe").encode("ab").tokens == ["ab"]
    assert tokenizer(pre="deepseek-r1-qwen").encode("1234").tokens == ["1", "2", "3", "4"]


def test_ends_and_names() -> None:
    settings = TOKENIZER | {"tokenizer.ggml.eot_token_id": 0, "tokenizer.ggml.padding_token_id": 2}
    assert ends_of(settings, PATH) == (0, 2)
    chat = chat_of(settings, PATH)
    assert chat.template == CHAT
    assert chat.tokens == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "", "pad_token": "</s>"}
    without = {name: value for name, value in TOKENIZER.items() if name != "tokenizer.chat_template"}
    assert chat_of(without, PATH).template == ""


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model": "llama"}, "tokenizer.ggml.model = 'llama'; only 'gpt2'.*tokenizer.json"),
        ({"model": None}, "tokenizer.ggml.model = None"),
        ({"pre": 7}, "tokenizer.ggml.pre = 7; only gpt-2"),
        ({"model": "m" * 9_999}, "tokenizer.ggml.model = 'm{59}…; only 'gpt2'"),
        ({"token_type": ["a"] * len(KINDS)}, r"has not \d+ numbers in tokenizer.ggml.token_type"),
        ({"pre": "deepseek-llm"}, "tokenizer.ggml.pre = 'deepseek-llm'; only gpt-2, smollm"),
        ({"tokens": None}, "no texts in tokenizer.ggml.tokens"),
        ({"merges": [1, 2]}, "no texts in tokenizer.ggml.merges"),
        ({"token_type": [1]}, r"has not \d+ numbers in tokenizer.ggml.token_type"),
    ],
)
def test_what_is_not_supported_is_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        tokenizer(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"merges": [*MERGES, "no where"]},
        {"merges": ["alone"]},
        {"tokens": [*TOKENS[:-1], "ab"], "token_type": KINDS},
    ],
)
def test_a_damaged_vocabulary_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"m\.gguf has (merges that do not fit|a token twice)"):
        tokenizer(**changed)


def test_without_an_end_nothing_would_end() -> None:
    with pytest.raises(UsageError, match=r"no tokenizer\.ggml\.eos_token_id"):
        ends_of(TOKENIZER | {"tokenizer.ggml.eos_token_id": None}, PATH)
