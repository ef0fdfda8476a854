"""Prompts to tokens, and tokens to text piece by piece."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_llama import TOKENIZER, tiny_tensors, write_tiny_hub
from tokenizers import AddedToken, Tokenizer, normalizers

from inferstream.pipeline.errors import ModelError, TooLarge
from inferstream.pipeline.optimize.pull.decoders.gguf_tokenizer import tokenizer_of
from inferstream.pipeline.runtime.text_tokens import CHARACTERS_OF_A_TOKEN, TextTokens

LIMIT = 500


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TextTokens:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tokenizer_of(TOKENIZER | {"tokenizer.ggml.add_bos_token": True}, path).save(str(path))
    return TextTokens(path, LIMIT)


@given(text=st.text(max_size=100))
def test_a_stream_gives_the_text_and_splits_no_character(tokens: TextTokens, text: str) -> None:
    ids = tokens.encode(text, with_special=False)
    stream = tokens.stream()
    pieces = [stream.add(token) for token in ids]
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text
    assert "".join(pieces) + stream.finish() == text
    assert tokens.decode(ids) == text


@given(ids=st.lists(st.integers(0, 258), max_size=60))
def test_any_tokens_at_all_give_the_same_text_as_at_once(tokens: TextTokens, ids: list[int]) -> None:
    """A model may generate bytes that are no UTF-8."""
    stream = tokens.stream()
    text = "".join(stream.add(token) for token in ids) + stream.finish()
    assert text == tokens.decode(ids)


def test_special_tokens_only_where_they_are_meant(tokens: TextTokens) -> None:
    assert tokens.encode("<s>ab</s>") == [1, 1, 259, 2]
    plain = tokens.encode("<s>ab</s>", with_special=False)
    assert not {0, 1, 2} & set(plain)
    assert tokens.decode(plain) == "<s>ab</s>"


def test_a_prompt_that_is_too_long(tokens: TextTokens) -> None:
    with pytest.raises(TooLarge, match=f"has {LIMIT + 2} tokens, and {LIMIT} are allowed"):
        tokens.encode("b" * (LIMIT + 1))
    size = LIMIT * CHARACTERS_OF_A_TOKEN + 1
    with pytest.raises(TooLarge, match=f"has {size} characters"):
        tokens.encode("b" * size)


def test_padding_and_truncation_of_the_file_are_off(tmp_path: Path) -> None:
    path = write_tiny_hub(tmp_path, tiny_tensors()) / "tokenizer.json"
    changed = Tokenizer.from_file(str(path))
    changed.enable_truncation(3)
    changed.enable_padding(length=20)
    changed.save(str(path))
    assert len(TextTokens(path, 100).encode("bcdefgh")) == 7
    path.write_text("{}")
    with pytest.raises(ModelError, match="Cannot read the tokenizer"):
        TextTokens(path, 100)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> TextTokens:
    """Tokens of words, with single bytes for what is no word, as SentencePiece makes them."""
    from tokenizers import decoders, models

    words = {"<unk>": 0, "</s>": 1, "▁a": 2, "b": 3, "▁": 4, "é": 5}
    singles = {f"<0x{byte:02X}>": 6 + byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(words | singles, [], byte_fallback=True))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    path = tmp_path_factory.mktemp("others") / "tokenizer.json"
    tokenizer.save(str(path))
    return TextTokens(path, LIMIT)


@given(ids=st.lists(st.integers(0, 261), max_size=60))
def test_tokens_that_are_no_bytes_give_a_text_whatever_comes(others: TextTokens, ids: list[int]) -> None:
    stream = others.stream()
    text = "".join(stream.add(token) for token in ids) + stream.finish()
    text.encode()
    assert text.count("b") >= ids.count(3)


@given(
    words=st.lists(st.sampled_from([[2], [3], [4], [5], [6 + byte for byte in "😀".encode()]]), max_size=30)
)
def test_tokens_that_are_no_bytes_give_the_text_of_all_at_once(
    others: TextTokens, words: list[list[int]]
) -> None:
    ids = [token for word in words for token in word]
    stream = others.stream()
    pieces = [stream.add(token) for token in ids]
    assert "".join(pieces) + stream.finish() == others.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_that_is_never_completed_holds_nothing_back_for_ever(others: TextTokens) -> None:
    stream = others.stream()
    shown = [stream.add(6 + 0x80) for _ in range(100)]
    assert len("".join(shown)) > 80


@pytest.mark.parametrize(
    ("normalizer", "written"),
    [
        (normalizers.NFKC(), "＜|end|＞"),
        (normalizers.Lowercase(), "<|END|>"),
        (normalizers.NFC(), "<|en d|>"),
    ],
)
def test_only_what_is_written_so_is_a_special_token(tmp_path: Path, normalizer: Any, written: str) -> None:
    """Not what the normalizer of the file makes to it: messages are searched before it."""
    made = Tokenizer.from_file(str(write_tiny_hub(tmp_path, tiny_tensors()) / "tokenizer.json"))
    made.normalizer = normalizer
    made.add_special_tokens([AddedToken("<|end|>", normalized=True)])
    made.save(str(tmp_path / "tokenizer.json"))
    found = TextTokens(tmp_path / "tokenizer.json", 100)
    end = made.token_to_id("<|end|>")
    assert end not in found.encode(written)
    assert found.encode("a<|end|>")[-1] == end
    assert end not in found.encode("<|end|>", with_special=False)
    assert found.decode(found.encode("a<|end|>")) == "a"
