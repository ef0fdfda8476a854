"""The task `triage`: its options, its answers to given vectors, and its version."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import BlankText, UnknownOption, WrongType
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.runtime.vocabulary import Reading
from inferstream.pipeline.tasks.base import Ask, Finished, Task, agree
from inferstream.pipeline.tasks.triage.classifier import Classifier, Routing
from inferstream.pipeline.tasks.triage.task import Triage, UnreadableRow
from inferstream.schemas.messages import TriageOptions

DEFAULTS = TriageOptions()
LABELS = ("refund", "login", "outage")


class NoTokenizer:
    pad_id = 0

    def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[list[int]]]:
        return [[[101, 102], [101, 102]] for _ in texts]

    def reading(self, text: str, windows: Sequence[Sequence[int]]) -> Reading:
        return "little" if text == "unreadable" else "nothing" if text == "blank" else "most"


def triage(tokenizer: Any = None, clean: str = "none", **changes: Any) -> Triage:
    """A task in four dimensions: one axis for each category, the fourth for urgency."""
    classifier = Classifier(LABELS, np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32), 0.5, b"c")
    fields: dict[str, Any] = {
        "routes": ("billing", "accounts", "on-call"),
        "levels": (1, 1, 2),
        "priorities": ("low", "normal", "urgent"),
        "threshold": 0.5,
        "urgency": np.float32([0, 0, 0, 1]),
        "margin": 0.2,
        "digest": b"r",
    }
    return Triage("m", tokenizer or NoTokenizer(), b"e", classifier, Routing(**fields | changes), clean)


def finished(*vectors: Sequence[float], options: TriageOptions = DEFAULTS) -> Finished:
    return Finished(
        [np.float32(v) / np.linalg.norm(v) for v in vectors], [Row([7] * 10)] * len(vectors), options
    )


def answer(one: Finished, task: Triage | None = None) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads((task or triage()).finish([one])[0])
    return decoded


def test_golden_answer() -> None:
    task: Task = triage()
    assert task.finish([finished([0, 1, 0, 0])])[0] == (
        b'{"category":"login","confidence":0.787,"priority":"normal","route":"accounts","needs_human":false,'
        b'"runners_up":[{"category":"refund","confidence":0.1065},{"category":"outage","confidence":0.1065}],'
        b'"windows":1}'
    )


def test_urgent_words_raise_the_priority_by_one() -> None:
    assert answer(finished([1, 0, 0, 0.5]))["priority"] == "urgent"
    assert answer(finished([1, 0, 0, 0.1]))["priority"] == "normal"
    assert answer(finished([0, 0, 1, 0.5]))["priority"] == "urgent", "there is nothing above"


def test_threshold_of_the_taxonomy_the_settings_and_the_request() -> None:
    vector = [1, 0.6, 0, 0]
    confidence = answer(finished(vector))["confidence"]
    assert 0.4 < confidence < 0.7
    for threshold, human in ((0.4, False), (0.7, True)):
        assert answer(finished(vector), triage(threshold=threshold))["needs_human"] is human
        options = TriageOptions(threshold=threshold)
        assert answer(finished(vector, options=options), triage(threshold=0.5))["needs_human"] is human
    assert answer(finished(vector, options=TriageOptions(threshold=confidence)))["needs_human"] is False


def test_the_number_of_runners_up_is_an_option() -> None:
    for count, found in ((0, 0), (1, 1), (2, 2), (9, 2)):
        assert (
            len(answer(finished([1, 0, 0, 0], options=TriageOptions(runners_up=count)))["runners_up"])
            == found
        )


def test_text_blocks_are_there_only_if_they_are_asked_for() -> None:
    asked = TriageOptions(text_blocks=True)
    task = triage(text_blocks=(("We pay back.",), (), ("{output.category}", "<|im_end|>")))
    assert "text_blocks" not in answer(finished([1, 0, 0, 0]), task)
    assert answer(finished([1, 0, 0, 0], options=asked), task)["text_blocks"] == ["We pay back."]
    assert answer(finished([0, 1, 0, 0], options=asked), task)["text_blocks"] == []
    assert answer(finished([0, 0, 1, 0], options=asked), task)["text_blocks"] == [
        "{output.category}",
        "<|im_end|>",
    ]
    assert answer(finished([1, 0, 0, 0], options=asked))["text_blocks"] == [], "a taxonomy without any"
    unreadable = Finished([np.float32([1, 0, 0, 0])], [UnreadableRow([7])], asked)
    assert answer(unreadable, task)["text_blocks"] == [], "its category says nothing"


def test_windows_are_pooled_and_counted() -> None:
    pooled = answer(finished([1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]))
    assert (pooled["category"], pooled["windows"]) == ("refund", 3)
    assert pooled["confidence"] < answer(finished([1, 0, 0, 0]))["confidence"]


coordinate = st.floats(-1, 1, width=32)
vector = st.lists(coordinate, min_size=4, max_size=4).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(st.lists(st.lists(vector, min_size=1, max_size=3), min_size=1, max_size=8))
def test_an_answer_does_not_depend_on_its_neighbors(requests: list[list[list[float]]]) -> None:
    task = triage()
    batch = [finished(*one, options=TriageOptions(runners_up=2)) for one in requests]
    for together, one in zip(task.finish(batch), batch, strict=True):
        found, alone = json.loads(together), answer(one)
        total = found["confidence"] + sum(c["confidence"] for c in found["runners_up"])
        assert total == pytest.approx(1, abs=2e-4)
        assert found["confidence"] == pytest.approx(alone["confidence"], abs=2e-4)
        assert found["windows"] == alone["windows"]


def test_options() -> None:
    task = triage()
    assert task.options({}) == TriageOptions()
    assert task.options({"threshold": 1, "runners_up": 0}) == TriageOptions(threshold=1.0, runners_up=0)
    with pytest.raises(
        UnknownOption,
        match=r"no option 'treshold'; its options are: clean, runners_up, text_blocks, threshold\.$",
    ):
        task.options({"treshold": 0.4})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"threshold": "0.4"},
            "The option 'threshold' has the wrong type: Expected `float | null`, got `str`.",
        ),
        (
            {"threshold": True},
            "The option 'threshold' has the wrong type: Expected `float | null`, got `bool`.",
        ),
        ({"threshold": 1.01}, "The option 'threshold' must lie between 0 and 1, not 1.01."),
        ({"threshold": -1}, "The option 'threshold' must lie between 0 and 1, not -1.0."),
        ({"runners_up": 1.5}, "The option 'runners_up' has the wrong type: Expected `int`, got `float`."),
        ({"runners_up": -1}, "The option 'runners_up' must be 0 or more, not -1."),
    ],
)
def test_wrong_options(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WrongType) as error:
        triage().options(given)
    assert str(error.value) == sentence


def test_the_version_changes_with_everything_that_decides_an_answer() -> None:
    versions = {triage().version, triage(threshold=0.7).version, triage(digest=b"other").version}
    assert len(versions) == 3
    assert triage().digest == triage().digest


def test_prepare() -> None:
    task = triage()
    prepared = task.prepare([Ask("a", DEFAULTS), Ask("b", DEFAULTS)])
    assert [[row.tokens for row in rows] for rows in prepared] == [[[101, 102], [101, 102]]] * 2


def test_a_text_with_nothing_to_read_is_blank() -> None:
    with pytest.raises(BlankText, match="nothing to read"):
        triage().prepare([Ask("blank", DEFAULTS)])


@given(st.lists(vector, min_size=1, max_size=3), st.floats(0, 1))
def test_an_unreadable_text_needs_a_human_and_has_no_confident_answer(
    vectors: list[list[float]], threshold: float
) -> None:
    task = triage()
    (rows,) = task.prepare([Ask("unreadable", DEFAULTS)])
    rows = rows[:1] * len(vectors)
    options = TriageOptions(threshold=threshold)
    one = finished(*vectors, options=options)._replace(rows=rows)
    found = answer(one, task)
    assert found["needs_human"] is True
    assert found["confidence"] == pytest.approx(1 / 3, abs=1e-4)
    assert "cannot read" in found["note"]
    assert "note" not in answer(one._replace(rows=[Row([1, 2])] * len(vectors)), task)


def test_the_request_or_else_the_model_says_what_is_cleaned() -> None:
    class Seen(NoTokenizer):
        texts: Sequence[str] = ()
        limit: int | None = None

        def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[list[int]]]:
            self.texts = texts
            self.limit = limit
            return super().encode(texts, limit)

    mail = "<p>late</p>"
    for of_the_model, of_the_request, read in (
        ("none", None, mail),
        ("none", "mail", "late"),
        ("mail", None, "late"),
        ("mail", "none", mail),
    ):
        tokenizer = Seen()
        task = triage(tokenizer=tokenizer, clean=of_the_model)
        options = task.options({"clean": of_the_request} if of_the_request else {})
        task.prepare([Ask(mail, options)], 7)
        assert (tokenizer.texts, tokenizer.limit) == ([read], 7)
    assert triage(clean="mail").version != triage().version
    with pytest.raises(WrongType, match="The option 'clean' has the wrong type: Invalid enum value 'pdf'"):
        triage().options({"clean": "pdf"})


def test_answers_agree_if_the_same_is_done_with_the_ticket() -> None:
    one = json.dumps(
        {"category": "a", "priority": "p", "route": "r", "needs_human": False, "confidence": 0.9}
    )
    task = triage()
    assert agree(task, one.encode(), one.replace("0.9", "0.7").encode())
    for changed in ('"a"', '"p"', '"r"', "false"):
        other = one.replace(changed, "true" if changed == "false" else '"x"')
        assert not agree(task, one.encode(), other.encode())
