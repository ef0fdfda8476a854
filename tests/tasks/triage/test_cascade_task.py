"""Triage by two tiers: who answers, what the answer says of it, and what the comparison of both does to a tenant."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from support.static_tiers import random_arrays, save_static_head
from support.tiny_model import HIDDEN, VOCABULARY, WORDS, tokenizer_settings

from inferstream.pipeline.errors import BlankText, ModelError, TooLarge
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.base import Ask, Finished, Prepared
from inferstream.pipeline.tasks.triage.cascade import Cascade, CascadeMeasured, urgency_digest
from inferstream.pipeline.tasks.triage.cascade_task import CascadeTriage, SampledRow, Tiers
from inferstream.pipeline.tasks.triage.classifier import Destinations, Routing, routing_of
from inferstream.pipeline.tasks.triage.confidence import softmax
from inferstream.pipeline.tasks.triage.head import Head
from inferstream.pipeline.tasks.triage.promise import LEVELS
from inferstream.pipeline.tasks.triage.static_tier import StaticTier
from inferstream.pipeline.tasks.triage.task import UnreadableRow
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy
from inferstream.pipeline.tasks.triage.together import cascade_of

LABELS = ("refund", "login", "parcel")
TEXTS = [" ".join(words) for words in np.random.default_rng(0).choice(WORDS, (600, 5))]
TEXTS = list(dict.fromkeys(TEXTS))
SURE = 0.6
CASCADE = Cascade(
    limit=0.01,
    bound="upper",
    humans=(0.5, 0.7),
    sure=(SURE, 0.7),
    spread=0.0,
    urgency=b"",
    measured=CascadeMeasured(0.5, 1, 1, 1.0, 0.0, 0.0, 0.0, 0.0),
)
TAXONOMY = replace(load_taxonomy(), urgency=None)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Head:
    weights = np.random.default_rng(1).normal(0, 3, (HIDDEN, len(LABELS))).astype("<f4").tobytes()
    return save_static_head(tmp_path_factory.mktemp("home"), "shop", LABELS, weights=weights, cascade=CASCADE)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_settings()))
    return Tokenizer(path, 48)


ARRAYS = random_arrays(tokens=len(VOCABULARY), labels=len(LABELS), dimensions=HIDDEN)
TIER = StaticTier(
    ARRAYS._replace(temperature=np.array([4], np.float32))
)  # sure of some texts, and not of others


def routing(urgency: float = 0.0, margin: float = np.inf) -> Routing:
    made = routing_of(
        LABELS, TAXONOMY, Destinations(), HIDDEN, lambda phrases: np.zeros((1, HIDDEN), np.float32)
    )
    axis = np.full(HIDDEN, urgency, np.float32)
    fields = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return Routing(**fields | {"urgency": axis, "margin": margin})


def task_of(
    head: Head, tokenizer: Tokenizer, shadow: float = 0.0, cascade: Cascade = CASCADE, **of_routing: float
) -> CascadeTriage:
    return CascadeTriage("shop", tokenizer, b"e", Tiers(head, TIER, cascade), routing(**of_routing), shadow)


def asks(task: CascadeTriage, texts: Sequence[str], tenant: str = "", **options: Any) -> list[Ask]:
    return [Ask(text, task.options(options), tenant=tenant) for text in texts]


def by_static(prepared: Sequence[Prepared]) -> list[bool]:
    return [isinstance(one, bytes) for one in prepared]


def finished(task: CascadeTriage, rows: Prepared, label: int, sure: bool = True) -> Finished:
    """The encoder finds this label, with the highest confidence or with the lowest."""
    assert not isinstance(rows, bytes)
    weights = task.linear().weights[:, label] if sure else np.zeros(HIDDEN, np.float32)
    return Finished([weights / max(np.linalg.norm(weights), 1)] * len(rows), rows, task.options({}))


def encoders_answer(task: CascadeTriage, one: Finished) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(task.finish([one])[0])
    return found


def confidences(tokenizer: Tokenizer) -> np.ndarray:
    return softmax(TIER.logits(tokenizer.encode(TEXTS)))


def test_the_static_tier_answers_where_it_is_sure(head: Head, tokenizer: Tokenizer) -> None:
    task = task_of(head, tokenizer)
    prepared = task.prepare(asks(task, TEXTS))
    reading = TIER.with_encoder(task.linear()).read_texts(tokenizer.encode(TEXTS))
    own = confidences(tokenizer)
    scores = own.max(axis=1).astype(float) * reading.agreed(own.argmax(axis=1)).astype(float)
    sure = np.round(scores, 4) >= SURE
    assert by_static(prepared) == sure.tolist()
    assert 0.2 < sure.mean() < 0.95
    assert sure.sum() < (own.max(axis=1) >= SURE).sum(), "of some it expects another answer of the encoder"
    for one, found in zip(prepared, confidences(tokenizer), strict=True):
        if isinstance(one, bytes):
            answer = json.loads(one)
            assert answer["tier"] == "static"
            assert answer["category"] == LABELS[int(found.argmax())]
            assert answer["needs_human"] is False
        else:
            assert all(type(row) is Row for row in one)
            assert encoders_answer(task, finished(task, one, 1)) | {"confidence": 0, "runners_up": []} == {
                "category": "login",
                "confidence": 0,
                "priority": "normal",
                "route": "support",
                "needs_human": False,
                "runners_up": [],
                "windows": 1,
                "tier": "encoder",
            }


def test_an_answer_does_not_depend_on_its_company(head: Head, tokenizer: Tokenizer) -> None:
    task = task_of(head, tokenizer, shadow=0.2)
    for one, together in zip(asks(task, TEXTS), task.prepare(asks(task, TEXTS)), strict=True):
        (alone,) = task.prepare([one])
        assert alone == together if isinstance(together, bytes) else type(alone[0]) is type(together[0])


def test_a_request_with_a_higher_threshold_for_a_human_asks_for_more(
    head: Head, tokenizer: Tokenizer
) -> None:
    task = task_of(head, tokenizer)
    shares = [
        np.mean(by_static(task.prepare(asks(task, TEXTS, threshold=threshold))))
        for threshold in (0.0, 0.5, 0.6, 0.7, 0.71)
    ]
    assert shares[0] == shares[1] > shares[2] == shares[3] > shares[4] == 0, "above 0.7 nothing is known"


def test_what_may_be_urgent_is_for_the_encoder(head: Head, tokenizer: Tokenizer) -> None:
    """The static tier says how urgent a text is: with the margin in the middle it leaves half to the encoder."""
    axis = 0.5
    along = TIER.along(np.full(HIDDEN, axis, np.float32)).read_texts(tokenizer.encode(TEXTS)).along
    middle = float(np.median(along))
    calm = by_static(task_of(head, tokenizer).prepare(asks(task_of(head, tokenizer), TEXTS)))
    some = task_of(head, tokenizer, urgency=axis, margin=middle)
    found = by_static(some.prepare(asks(some, TEXTS)))
    assert found == [one and bool(low) for one, low in zip(calm, along <= middle, strict=True)]
    unsure = task_of(head, tokenizer, cascade=replace(CASCADE, spread=1.0), urgency=axis, margin=middle)
    assert sum(by_static(unsure.prepare(asks(unsure, TEXTS)))) < sum(found)


def test_texts_that_cannot_be_read_are_refused_or_left_to_the_encoder(
    head: Head, tokenizer: Tokenizer
) -> None:
    task = task_of(head, tokenizer, shadow=1.0)
    ((first, *_),) = task.prepare(asks(task, ["漢字漢字漢字漢字"]))
    assert isinstance(first, UnreadableRow)
    answer = encoders_answer(task, Finished([np.ones(HIDDEN, np.float32)], [first], task.options({})))
    assert answer["needs_human"] is True
    assert answer["note"]
    assert task.promise.sampled == 0
    with pytest.raises(BlankText):
        task.prepare(asks(task, ["\u200b"]))
    with pytest.raises(TooLarge):
        task.prepare(asks(task, ["card " * 500]), 100)


def test_the_sample_has_its_share_and_is_the_same_again(head: Head, tokenizer: Tokenizer) -> None:
    task = task_of(head, tokenizer, shadow=0.1)
    texts = [f"{text} {number}" for number in range(10) for text in TEXTS[:300]]

    def sampled() -> list[str]:
        prepared = task.prepare(asks(task, texts))
        pairs = zip(texts, prepared, strict=True)
        return [
            text for text, rows in pairs if not isinstance(rows, bytes) and isinstance(rows[0], SampledRow)
        ]

    assert 0.08 < len(sampled()) / len(texts) < 0.12
    assert sampled() == sampled()


def test_a_sampled_text_is_answered_by_the_encoder_and_compared(head: Head, tokenizer: Tokenizer) -> None:
    task = task_of(head, tokenizer, shadow=1.0)
    best = confidences(tokenizer).argmax(axis=1).tolist()
    prepared = task.prepare(asks(task, TEXTS))
    assert not any(by_static(prepared))
    for rows, label in zip(prepared, best, strict=True):
        assert encoders_answer(task, finished(task, rows, label))["tier"] == "encoder"
    assert (task.promise.sampled, task.promise.changed) == (len(TEXTS), 0)
    sure = [rows for rows in prepared if rows[0].guess.reached]  # type: ignore[union-attr,index]
    for number, rows in enumerate(sure[:4]):
        row: Any = rows[0]  # type: ignore[index]
        row.tenant = f"tenant-{number}"
        label = row.guess.category if number % 2 else (row.guess.category + 1) % 3
        encoders_answer(task, finished(task, rows, label, sure=not number % 2))
        assert task.promise.changed == number + 1, "another category, or a human"


def test_a_tenant_whose_answers_change_is_left_to_the_encoder(
    head: Head, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of(head, tokenizer, shadow=0.3)
    others = (confidences(tokenizer).argmax(axis=1) + 1) % 3
    shares = []
    for _ in range(4):
        prepared = task.prepare(asks(task, TEXTS, "changed"))
        shares.append(np.mean(by_static(prepared)))
        for rows, label in zip(prepared, others.tolist(), strict=True):
            if isinstance(rows, bytes):
                continue
            for row in rows:
                row.tenant = "changed"  # the engine does
            task.finish([finished(task, rows, label)])
    assert shares[0] > 0.2
    assert shares[-1] < 0.01
    level = task.promise.level("changed")
    assert 0 < level <= LEVELS
    assert np.mean(by_static(task.prepare(asks(task, TEXTS, "calm")))) == shares[0]
    assert caplog.records[0].getMessage() == (
        "The static tier of shop would change more than 1 % of the answers of the tenant 'changed': from now on it "
        "needs a confidence of 0.8000."
    )
    figures = {(figure.name, *figure.labels.values()): figure.value for figure in task.figures()}
    assert figures["inferstream_static_tier_sure", "*"] == SURE
    assert figures["inferstream_static_tier_sure", "changed"] == pytest.approx(1 - (1 - SURE) / 2**level)
    assert figures["inferstream_tiers_raised_tenants",] == 1
    assert figures["inferstream_tier_answers", "static"] > 0
    assert 0.005 < figures["inferstream_tiers_changed_share_high",] < 1


def test_the_version_covers_the_thresholds_and_not_the_sample(head: Head, tokenizer: Tokenizer) -> None:
    task = task_of(head, tokenizer)
    assert task.version == task_of(head, tokenizer, shadow=0.5).version
    other = replace(head, cascade=replace(CASCADE, sure=(0.8, 0.9)))
    assert task.version != task_of(other, tokenizer).version
    assert task.repeats(task.options({}))


def test_a_cascade_for_other_urgent_phrases_is_refused(head: Head) -> None:
    taxonomy = load_taxonomy()
    with pytest.raises(
        ModelError, match="for other urgent phrases than those of the taxonomy: give the taxonomy of its fit"
    ):
        cascade_of(head, taxonomy)
    fitting = replace(CASCADE, urgency=urgency_digest(taxonomy.urgency))
    assert cascade_of(replace(head, cascade=fitting), taxonomy) == fitting
    assert cascade_of(head, TAXONOMY) == CASCADE, "without urgent phrases nothing is urgent"
    with pytest.raises(ModelError, match="has no cascade; fit it again"):
        cascade_of(replace(head, cascade=UNSET), taxonomy)
