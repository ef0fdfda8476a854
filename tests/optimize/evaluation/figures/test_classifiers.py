"""Evaluation of classifiers from end to end, with a task whose answers are known: what is worse by a known amount is
found, on the same rows."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from inferstream.pipeline.errors import BlankText, UsageError
from inferstream.pipeline.optimize.evaluation.extra_sets import ExtraSets, extra_sets, shipped_foreign
from inferstream.pipeline.optimize.evaluation.figures.classifiers import evaluate
from inferstream.pipeline.optimize.evaluation.served_model import ServedModel
from inferstream.pipeline.optimize.triage.labeled import Labeled
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.tasks.base import Ask, Finished, Prepared
from inferstream.pipeline.tasks.text import TextTask
from inferstream.schemas.messages import TriageOutput

LABELS = ("card", "refund", "parcel", "login")
ROWS = 400


class Known(TextTask):
    """Answers a row "NUMBER LABEL" rightly unless its number is among ``wrong``; foreign texts with the confidence
    of ``foreign``. Texts that say static are answered without a device.
    """

    name = "triage"
    model = "known"
    version = "0123456789ab"
    digest = b""

    def __init__(self, wrong: Sequence[int], confidence: float, foreign: float) -> None:
        self._wrong = set(wrong)
        self._confidence = confidence
        self._foreign = foreign

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[Prepared]:
        if any(ask.content.startswith("blank") for ask in asks):
            raise BlankText("There is nothing to read.")
        return [self._prepared(ask.content) for ask in asks]

    def _prepared(self, text: str) -> Prepared:
        number = text.split(maxsplit=1)[0]
        if not number.isdigit():
            return self._json(text, self._foreign)
        if "static" in text:
            return self._json(text.split()[1], self._confidence, "static")
        label = LABELS.index(text.split()[1])
        given = (label + 1) % len(LABELS) if int(number) in self._wrong else label
        return [Row([given] * (1 + int(number) % 7))]

    def _json(self, label: str, confidence: float, tier: str | msgspec.UnsetType = msgspec.UNSET) -> bytes:
        return msgspec.json.encode(
            TriageOutput(label, confidence, "normal", "support", confidence < 0.5, tier=tier)
        )

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        assert finished, "the engine calls it for outputs alone"
        return [self._json(LABELS[int(one.outputs[0].argmax())], self._confidence) for one in finished]


class OneHot:
    phases = ("run",)

    def step(self, rows: Sequence[Row]) -> Sequence[np.ndarray]:
        return [np.eye(len(LABELS), dtype=np.float32)[row.tokens[0]] for row in rows]

    def drop(self, rows: Sequence[Row]) -> None:
        pass


def model(name: str, wrong: Sequence[int] = (), confidence: float = 0.9, foreign: float = 0.1) -> ServedModel:
    return ServedModel(
        name, f"version of {name}", "fitted", Known(wrong, confidence, foreign), OneHot(), "cpu"
    )


def rows() -> Labeled:
    labels = [LABELS[number % len(LABELS)] for number in range(ROWS)]
    return Labeled([f"{number} {label}" for number, label in enumerate(labels)], labels, {}, {})


def quiet(step: str, done: int, total: int) -> None:
    pass


NO_SETS = ExtraSets(["something else"] * 10, [])


def test_a_variant_that_is_worse_by_a_known_amount_is_found() -> None:
    original = model("original", wrong=range(40))
    variant = model("variant", wrong=range(20, 80), confidence=0.8, foreign=0.6)
    found = evaluate(original, [variant], rows(), NO_SETS, quiet, speeds=False)
    first, second = found["original"], found["variant"]
    assert (first.accuracy.value, second.accuracy.value, second.original_accuracy) == (0.9, 0.85, 0.9)
    assert second.share.value == pytest.approx(0.85 / 0.9)
    assert second.share.low < 0.85 / 0.9 < second.share.high < 1
    assert second.agreement.value == pytest.approx(1 - 60 / ROWS), "40 rows lost, 20 won"
    assert first.calibration_error == pytest.approx(0.0, abs=1e-6)
    assert second.calibration_error == pytest.approx(0.05, abs=1e-6)
    assert (second.out_of_scope, second.original_out_of_scope) == (0.0, 1.0)
    assert second.by_label["card"].rows == 100
    assert second.by_label["card"].recall == pytest.approx(1 - 15 / 100)
    assert second.cosine_mean == pytest.approx(1 - 60 / ROWS)
    assert (second.cosine_min, first.cosine_min) == (0.0, 1.0)
    assert (second.original, second.version) == ("original", "version of variant")
    assert first.share.value == first.agreement.value == 1


def test_a_text_that_is_refused_counts_as_wrong_and_goes_to_a_human() -> None:
    given = rows()
    texts = ["blank", *given.texts[1:]]
    found = evaluate(model("original"), [], given._replace(texts=texts), NO_SETS, quiet, speeds=False)[
        "original"
    ]
    assert found.accuracy.value == 1 - 1 / ROWS
    assert found.cosine_mean is None, "a text has no vector"


def test_answers_of_the_static_tier_are_counted_and_need_no_device() -> None:
    given = rows()
    texts = [f"{text} static" if number < 100 else text for number, text in enumerate(given.texts)]
    found = evaluate(model("original"), [], given._replace(texts=texts), NO_SETS, quiet, speeds=False)[
        "original"
    ]
    assert found.static_share == 100 / ROWS
    assert found.accuracy.value == 1
    assert found.cosine_mean is None


def test_labels_that_no_model_gives_are_told() -> None:
    given = rows()
    with pytest.raises(UsageError, match="original answers no row with its label"):
        evaluate(model("original"), [], given._replace(labels=["x"] * ROWS), NO_SETS, quiet, speeds=False)


def test_labeled_negated_texts_are_judged_and_made_ones_compared() -> None:
    labeled = rows().at(list(range(50)))
    sets = ExtraSets(["x"], labeled.texts, labeled)
    found = evaluate(
        model("original"), [model("variant", wrong=range(10))], rows(), sets, quiet, speeds=False
    )["variant"]
    assert (found.negation, found.original_negation, found.negation_agreement) == (0.8, 1.0, 0.8)


def test_speeds_are_those_of_the_lengths_of_the_rows() -> None:
    found = evaluate(model("original"), [model("variant")], rows(), NO_SETS, quiet)["variant"]
    (speed,) = found.speeds
    assert speed.tokens[0] == 1
    assert speed.tokens[-1] == 7
    assert np.median(speed.tokens) == pytest.approx(np.median([1 + number % 7 for number in range(ROWS)]))
    assert [one.tokens for one in speed.latencies] == sorted(one.tokens for one in speed.latencies)
    assert speed.rows_per_s > 0
    assert speed.times_original.low <= speed.times_original.value <= speed.times_original.high


def test_no_row_is_an_error() -> None:
    with pytest.raises(UsageError, match="no row to measure on"):
        evaluate(model("original"), [], rows().at([]), NO_SETS, quiet)


def test_foreign_texts_are_distinct_and_negated_ones_are_other_texts() -> None:
    assert len(set(shipped_foreign())) == len(shipped_foreign()) == 200
    made = extra_sets(["I can log in.", "My card hasn't arrived", "I can't pay", "Hello", "I am not sure"])
    assert made.made_negated == [
        "I can not log in.",
        "My card has arrived",
        "I can pay",
        "I am sure",
    ]
