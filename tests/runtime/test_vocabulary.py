"""What a model can read of a text: nothing, little or most, by its tokenizer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT
from support.minilm_model import MiniLM

TICKETS = [
    json.loads(line)["text"] for line in (ROOT / "examples" / "tickets.jsonl").read_text("utf-8").splitlines()
]


def reading(minilm: MiniLM, text: str) -> str:
    return minilm.tokenizer.reading(text, minilm.tokenizer.encode([text])[0])


def test_every_english_ticket_can_be_read(minilm: MiniLM) -> None:
    assert [text for text in TICKETS if reading(minilm, text) != "most"] == []


@pytest.mark.parametrize(
    "text", ["\u200b", "\u200b\u200d\ufeff", "\x00\x07", " \t", "\u202e\u2066", "\ufffd", "\u00ad"]
)
def test_what_shows_nothing_is_nothing(minilm: MiniLM, text: str) -> None:
    assert reading(minilm, text) == "nothing"


@pytest.mark.parametrize(
    "text",
    [
        "😡😡😡",
        "👍",
        "?!",
        "...",
        "12345",
        "สินค้าที่ได้รับเสียหายและต้องการเงินคืน",
        "ไม่สามารถเข้าสู่ระบบได้ กรุณาช่วยด้วย",
        "iPhone 15 สินค้าที่ได้รับเสียหายและต้องการเงินคืนโดยเร็วที่สุด",
        "Меня дважды списали за один и тот же заказ",
        "لقد تم خصم المبلغ مرتين من حسابي",
        "חויבתי פעמיים על אותה הזמנה",
        "मुझसे दो बार पैसे लिए गए",
        "\u200b\u200b\u200b\u200b\u200b\u200b\u200b\u200b?",
        "a b c d e f g",
        "𝕴 𝖜𝖆𝖘 ⠊⠞",
    ],
)
def test_what_the_model_does_not_know_is_little(minilm: MiniLM, text: str) -> None:
    assert reading(minilm, text) == "little"


@pytest.mark.parametrize(
    "text",
    [
        "refund",
        "Refund 🎉🎉🎉🎉🎉🎉",
        "Where is my order 😡 😡 😡 😡 😡 😡 😡?",
        "I was charged twice for order 4821367 on 2025-11-03 (EUR 49.00)!!!",
        "thx!! pls help asap",
        "Größe falsch geliefert",
        "My order สินค้า has not arrived",
        "REFUND NOW",
        "I\u200b was\u200b charged\u200b twice",
    ],
)
def test_emoji_numbers_and_some_foreign_words_do_no_harm(minilm: MiniLM, text: str) -> None:
    assert reading(minilm, text) == "most"


@given(text=st.text(max_size=60))
def test_any_text_has_a_reading(minilm: MiniLM, text: str) -> None:
    assert reading(minilm, text) in {"nothing", "little", "most"}
    assert (reading(minilm, text) == "nothing") == (len(minilm.tokenizer.encode([text])[0][0]) == 2)
