"""The quick tokenizer of plain texts gives the ids of the library, or leaves the text to it."""

import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_model import tokenizer_settings
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE

from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.runtime.word_pieces import KEPT_WORDS, MAX_CHARACTERS, NEW_WORDS, WordPieces

PIECES = [*string.ascii_lowercase, *string.digits, *string.punctuation, "card", "re", "fund", "a" * 40]
ENDINGS = ["##s", "##fund", "##ed", "##a", "##1", "##card"]
SIGNS = [chr(number) for number in range(128)]
ODD = [
    "[CLS]",
    "[MASK]",
    "[cls]",
    "##s",
    "é",
    "漢",
    "\x85",
    "\u00a0",
    "a" * (MAX_CHARACTERS + 1),
    "refunded",
    "Card",
]


def a_tokenizer(**changed: Any) -> dict[str, Any]:
    """Settings of one whose words fall into pieces. ``changed``: parts that are other ones."""
    made = tokenizer_settings()
    made["model"]["vocab"] = {
        word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *PIECES, *ENDINGS])
    }
    for part, values in changed.items():
        made[part] = {**made[part], **values} if isinstance(values, dict) else values
    return made


def word_pieces(made: dict[str, Any]) -> WordPieces | None:
    return WordPieces.of(FastTokenizer.from_str(json.dumps(made)))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("quick") / "tokenizer.json"
    path.write_text(json.dumps(a_tokenizer()))
    return Tokenizer(path, 24)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The same tokenizer without the quick way."""
    path = tmp_path_factory.mktemp("library") / "tokenizer.json"
    path.write_text(json.dumps(a_tokenizer()))
    made = Tokenizer(path, 24)
    made._words = None
    return made


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.lists(st.sampled_from([*SIGNS, *PIECES, *ODD, " "]), max_size=40).map("".join), max_size=4
    )
)
def test_the_ids_are_those_of_the_library(quick: Tokenizer, library: Tokenizer, texts: list[str]) -> None:
    found = [[list(window) for window in windows] for windows in quick.encode(texts)]
    assert found == [[list(window) for window in windows] for windows in library.encode(texts)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_plain_texts_are_not_left_to_the_library(lowercase: bool) -> None:
    made = word_pieces(a_tokenizer(normalizer={"lowercase": lowercase}))
    assert made is not None
    text = "Refunds, 1 card?\r\n\tre-fund"
    whole = FastTokenizer.from_str(json.dumps(a_tokenizer(normalizer={"lowercase": lowercase})))
    whole.no_truncation()
    whole.no_padding()
    assert made.ids(text) == whole.encode(text, add_special_tokens=False).ids
    assert made.ids("[CLS]") is made.ids("a\x0bb") is made.ids("é") is made.ids("a" * 33) is None


@pytest.mark.parametrize(
    "other",
    [
        {"normalizer": None},
        {"normalizer": {"clean_text": False}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"added_tokens": [{**tokenizer_settings()["added_tokens"][0], "normalized": True}]},
    ],
)
def test_other_tokenizers_are_left_to_the_library(other: dict[str, Any]) -> None:
    assert word_pieces(a_tokenizer()) is not None
    assert word_pieces(a_tokenizer(**other)) is None
    assert WordPieces.of(FastTokenizer(BPE({"a": 0}, []))) is None


def test_its_memory_is_bounded() -> None:
    made = word_pieces(a_tokenizer())
    assert made is not None
    for number in range(KEPT_WORDS + 100):
        assert made.ids(f"{number}")
    assert 0 < len(made._known) <= KEPT_WORDS


def test_a_text_of_many_new_words_is_left_to_the_library_until_they_are_learned() -> None:
    """Strange words by the thousand must not hold up the threads that serve others."""
    made = word_pieces(a_tokenizer())
    assert made is not None
    text = " ".join(f"card{number}" for number in range(NEW_WORDS + 1))
    assert made.ids(text) is None
    assert len(made._known) == NEW_WORDS
    ids = FastTokenizer.from_str(json.dumps(a_tokenizer()))
    ids.no_truncation()
    assert made.ids(text) == ids.encode(text, add_special_tokens=False).ids
