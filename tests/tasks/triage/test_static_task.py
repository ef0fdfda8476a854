"""Triage by a static tier alone: answers without an encoder, like those of the encoder in all else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from support.static_tiers import save_static_head
from support.tiny_model import WORDS

from inferstream.pipeline.errors import BlankText, DeviceError, ModelError, TooLarge, UnknownModel, UsageError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.graph import NoGraph
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.base import Ask, Finished, Task
from inferstream.pipeline.tasks.triage.confidence import softmax
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.loading import load_triage
from inferstream.pipeline.tasks.triage.settings import TriageSettings

LABELS = ("refund", "login", "parcel")
TAXONOMY = """
[categories.refund]
description = "refund"
route = "billing"
priority = "high"
text_blocks = ["We pay back."]
[categories.login]
description = "login"
[urgency]
urgent = ["my card is broken"]
calm = ["a parcel"]
margin = 0.0
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    save_static_head(tmp_path, "shop", LABELS, routes={"parcel": "post"}, priorities={"login": "low"})
    return tmp_path


def task_of(home: Path, **settings: Any) -> Task:
    loaded = load_triage(ModelRegistry(home), "shop", TriageSettings(**settings))
    assert loaded.manifest is None, "no encoder is needed"
    return loaded.make(NoGraph())


def answers(task: Task, *texts: str, **options: Any) -> list[dict[str, Any]]:
    prepared = task.prepare([Ask(text, task.options(options)) for text in texts])
    return [json.loads(answer) for answer in prepared]  # type: ignore[arg-type]


def test_the_answer_is_that_of_the_tier(home: Path) -> None:
    heads = HeadStore(home)
    head = heads.load("shop")
    tokenizer = Tokenizer(heads.file("shop", head, "tokenizer.json"), 48)
    text = "my parcel is late"
    confidences = softmax(heads.static_tier("shop", head).logits(tokenizer.encode([text])))[0]
    (found,) = answers(task_of(home), text)
    best = int(confidences.argmax())
    assert (found["category"], found["confidence"]) == (LABELS[best], round(float(confidences[best]), 4))
    assert {one["category"] for one in found["runners_up"]} == {*LABELS} - {LABELS[best]}
    assert (found["tier"], found["windows"]) == ("static", 1)


def test_an_answer_is_the_same_in_any_company(home: Path) -> None:
    task = task_of(home)
    texts = ["my parcel is late", "refund", "i order a card " * 40, "login broken", "x"]
    together = task.prepare([Ask(text, task.options({})) for text in texts])
    for text, answer in zip(texts, together, strict=True):
        assert task.prepare([Ask(text, task.options({}))]) == [answer]
    assert answers(task, texts[2])[0]["windows"] > 1


def test_the_taxonomy_the_head_and_the_options_decide_as_with_an_encoder(home: Path) -> None:
    path = home / "my.toml"
    path.write_text(TAXONOMY)
    task = task_of(home, taxonomy=str(path))
    texts = [" ".join(words) for words in np.random.default_rng(0).choice(WORDS, (200, 3))]
    found = answers(task, *texts, text_blocks=True, runners_up=1)
    assert {one["category"] for one in found} == {*LABELS}
    assert all(len(one["runners_up"]) == 1 for one in found)
    expected = {"refund": ("billing", ["We pay back."]), "login": ("support", []), "parcel": ("post", [])}
    for one in found:
        assert (one["route"], one["text_blocks"]) == expected[one["category"]]
    levels = {one["category"]: {other["priority"] for other in found if other["category"] == one["category"]}
              for one in found}  # fmt: skip
    assert levels["refund"] <= {"high", "urgent"}
    assert levels["login"] <= {"low", "normal"}
    assert any(len(priorities) == 2 for priorities in levels.values()), "urgent words raise the priority"


@pytest.mark.parametrize(("threshold", "human"), [(0.0, False), (1.0, True)])
def test_thresholds(home: Path, threshold: float, human: bool) -> None:
    assert answers(task_of(home, threshold=threshold), "late")[0]["needs_human"] is human
    assert answers(task_of(home), "late", threshold=threshold)[0]["needs_human"] is human


def test_texts_that_cannot_be_read(home: Path) -> None:
    task = task_of(home)
    (found,) = answers(task, "\u0416\u0416\u0416\u0416 \u0416\u0416\u0416")
    assert found["needs_human"]
    assert found["confidence"] == pytest.approx(1 / 3, abs=1e-4)
    assert "cannot read" in found["note"]
    with pytest.raises(BlankText):
        answers(task, "\u200b")


def test_a_text_of_too_many_tokens_is_refused_short_or_long(home: Path) -> None:
    task = task_of(home)
    for text in ("card " * 200, "card " * 50_000):
        with pytest.raises(TooLarge, match="more than the 150 tokens"):
            task.prepare([Ask(text, task.options({}))], 150)
    assert task.prepare([Ask("card " * 200, task.options({}))], 1_000)


def test_mails_are_cleaned_as_for_the_fit(home: Path) -> None:
    save_static_head(home, "shop", LABELS, clean="mail")
    mail = "<p>my parcel</p><blockquote>refund refund refund login</blockquote>"
    task = task_of(home)
    assert answers(task, mail) == answers(task, "my parcel")
    assert answers(task, mail, clean="none") != answers(task, "my parcel")


def test_the_version_changes_with_all_that_decides_an_answer(home: Path) -> None:
    path = home / "my.toml"
    path.write_text(TAXONOMY)
    first = task_of(home)
    versions = [first, task_of(home, threshold=0.9), task_of(home, taxonomy=str(path))]
    save_static_head(home, "shop", LABELS[::-1])
    versions.append(task_of(home))
    assert len({task.version for task in versions}) == 4
    assert len({task.digest for task in versions}) == 4


def test_a_fitted_model_with_damaged_files_is_refused_when_it_is_loaded(home: Path) -> None:
    head = HeadStore(home).load("shop")
    for name in head.files:
        path = home / "heads" / "shop" / head.version / name
        content = path.read_bytes()
        path.write_bytes(content[:100])
        with pytest.raises(ModelError, match=rf"{name} is absent or damaged"):
            task_of(home)
        path.write_bytes(content)
    assert task_of(home)


def test_a_wrong_threshold_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        task_of(home, threshold=1.5)


def test_served_by_the_encoder_the_encoder_is_needed(home: Path) -> None:
    head = HeadStore(home).load("shop")
    HeadStore(home).save("shop", replace(head, serve="encoder"))
    with pytest.raises(UnknownModel, match="no model 'tiny-int8'"):
        load_triage(ModelRegistry(home), "shop", TriageSettings())


def test_it_makes_no_rows(home: Path) -> None:
    with pytest.raises(DeviceError):
        task_of(home).finish([Finished([], [], None)])
    assert task_of(home).finish([]) == []
    with pytest.raises(DeviceError):
        NoGraph().run({})
