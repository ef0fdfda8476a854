"""Windows of token ids: nothing is cut off, nothing is padded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import ModelError, TooLarge
from inferstream.pipeline.runtime.tokenizer import PIECE_CHARACTERS, Tokenizer, _pieces

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny")) / "tokenizer.json"


def test_no_padding_and_no_truncation(path: Path) -> None:
    short, long = Tokenizer(path, 512).encode(["refund", "refund " * 400])
    assert [len(window) for window in short] == [3]
    assert [len(window) for window in long] == [402]


def test_an_empty_text_is_one_window(path: Path) -> None:
    assert Tokenizer(path, 48).encode([""]) == [[[CLS, SEP]]]


def test_one_token_over_the_limit_makes_a_second_window(path: Path) -> None:
    fits, over = Tokenizer(path, 48).encode(["card " * 46, "card " * 47])
    assert [len(window) for window in fits] == [48]
    assert [len(window) for window in over] == [48, 2 + 12 + 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    words=st.lists(
        st.sampled_from(["card", "refund", "my", "x", "zebra", "??", "ümlaut", "漢字"]), max_size=300
    )
)
def test_windows_cover_every_token_in_order(path: Path, words: list[str]) -> None:
    text = " ".join(words)
    whole = Tokenizer(path, 4_096).encode([text])[0]
    windows = Tokenizer(path, 48).encode([text])[0]
    assert len(whole) == 1
    assert all(len(window) <= 48 and window[0] == CLS and window[-1] == SEP for window in windows)
    joined = windows[0][1:-1]
    for window in windows[1:]:
        assert joined[-12:] == window[1:13]
        joined += window[13:-1]
    assert joined == whole[0][1:-1]


def test_threads_share_one_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(path, 48)
    texts = [f"my card {number}" for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tokenizer.encode(texts), range(8)))
    assert all(encoded == found[0] for encoded in found)


def test_an_invalid_tokenizer_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer(tmp_path / "tokenizer.json", 48)


LONG = {
    "words": "my card was charged twice and the refund is late ?? " * 1_500,
    "words, line breaks and scripts": "card ümlaut\n漢字漢字\trefund\u00a0zebra!? x" * 1_500,
    "no space at all": "!?" * 30_000,
    "Han without spaces": "漢字" * 20_000,
    "spaces only at the end": "漢" * 20_000 + " card" * 3_000,
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("max_tokens", [48, 256])
def test_a_text_that_is_tokenized_in_pieces_has_the_windows_that_the_library_makes(
    path: Path, kind: str, max_tokens: int
) -> None:
    tokenizer = Tokenizer(path, max_tokens)
    text = LONG[kind]
    assert len(text) > 3 * PIECE_CHARACTERS
    (whole,) = tokenizer._fast.encode_batch_fast([text])
    expected = [whole.ids, *(rest.ids for rest in whole.overflowing)]
    ((*windows,),) = tokenizer.encode([text])
    assert [list(window) for window in windows] == expected


def test_short_and_long_texts_keep_their_places(path: Path) -> None:
    tokenizer = Tokenizer(path, 48)
    texts = ["card", LONG["words"], "refund", "", LONG["no space at all"], "zebra"]
    together = tokenizer.encode(texts)
    assert [[list(w) for w in one] for one in together] == [
        [list(w) for w in tokenizer.encode([text])[0]] for text in texts
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(text=st.text(st.sampled_from("ab ?漢\u0301\n"), max_size=400), piece=st.integers(8, 60))
def test_pieces_lose_nothing_and_are_bounded(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("inferstream.pipeline.runtime.tokenizer.PIECE_CHARACTERS", piece)
        patched.setattr("inferstream.pipeline.runtime.tokenizer.CUT_CHARACTERS", piece // 4)
        pieces = list(_pieces(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= piece


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("max_tokens", [48, 256])
def test_a_text_is_too_large_from_the_first_token_over_the_limit_on(
    path: Path, kind: str, max_tokens: int
) -> None:
    tokenizer = Tokenizer(path, max_tokens)
    (windows,) = tokenizer.encode([LONG[kind]])
    tokens = sum(map(len, windows))
    assert tokenizer.encode([LONG[kind]], tokens) == [windows]
    with pytest.raises(TooLarge, match=rf"more than the {tokens - 1} tokens allowed.*`max_request_tokens`"):
        tokenizer.encode([LONG[kind]], tokens - 1)


@pytest.mark.parametrize("text", ["!?" * 500_000, "漢" * 300_000, "my card was charged " * 50_000])
def test_what_lies_behind_the_limit_is_not_tokenized(
    path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    read: list[str] = []

    def pieces(text: str) -> Iterator[str]:
        for piece in _pieces(text):
            read.append(piece)
            yield piece

    monkeypatch.setattr("inferstream.pipeline.runtime.tokenizer._pieces", pieces)
    limit = 20_000
    with pytest.raises(TooLarge):
        Tokenizer(path, 256).encode([text], limit)
    characters_of_a_token = len("my card was charged ") / 4
    assert sum(map(len, read)) <= characters_of_a_token * limit + PIECE_CHARACTERS
