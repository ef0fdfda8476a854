"""Answers of the task `classify`: the scores of the model's own head, by one label or by several."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from rich.console import Console
from support.tiny_families import LABELS, write_tiny

from inferstream.pipeline.config import Config
from inferstream.pipeline.errors import BlankText, UnknownModel, UnknownOption, UsageError, WrongType
from inferstream.pipeline.models.manifest import CLASSIFIER, Manifest, write_manifest
from inferstream.pipeline.models.metrics import CLASSIFY, Evaluation, Gate, Judgement, ServedBy
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.base import Ask, Finished, Task, agree
from inferstream.pipeline.tasks.classify.definition import ClassifyDefinition
from inferstream.pipeline.tasks.classify.scores import scores_of
from inferstream.pipeline.tasks.classify.settings import ClassifySettings
from inferstream.pipeline.tasks.embed.definition import EmbedDefinition, EmbedSettings
from inferstream.pipeline.tasks.releasing import parts_of
from inferstream.schemas.classification import ClassifyOutput, LabelScore

TEXTS = ["my card is broken", "the parcel is late", "i cannot log in " * 40, "a", "Where is my order?"]


@dataclass
class Served:
    """The task over a variant of a tiny classifier."""

    task: Task
    encoder: Encoder
    manifest: Manifest

    def answers(self, texts: list[str], **options: Any) -> list[ClassifyOutput]:
        checked = self.task.options(options)
        rows = self.task.prepare([Ask(text, checked) for text in texts])
        outputs = iter(self.encoder.step([row for one in rows for row in one]))
        finished = [Finished([next(outputs) for _ in one], one, checked) for one in rows]
        return [msgspec.json.decode(answer, type=ClassifyOutput) for answer in self.task.finish(finished)]

    def logits(self, text: str) -> NDArray[np.float32]:
        """Of each window alone, and the windows' lengths as weights of their mean."""
        tokenizer = Tokenizer(self.manifest.tokenizer_path, self.manifest.max_tokens, self.manifest.pad_id)
        (windows,) = tokenizer.encode([text])
        graph = self.encoder.graph
        parts = [
            graph.run({"input_ids": np.array([w]), "attention_mask": np.ones((1, len(w)), np.int64)})[0][0]
            for w in windows
        ]
        found: NDArray[np.float32] = np.average(parts, axis=0, weights=[len(w) for w in windows])
        return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    folder = tmp_path_factory.mktemp("classifiers")
    registry = ModelRegistry(folder / "home")
    write_tiny(folder / "mood", "distilbert", classifier=True)
    several = {"problem_type": "multi_label_classification"}
    write_tiny(folder / "topics", "xlm-roberta", classifier=True, **several)
    for name in ("mood", "topics"):
        pull(registry, name, lambda *_: None, folder=folder / name)
    return registry


def served(registry: ModelRegistry, name: str, threshold: float | None = None) -> Served:
    manifest, make, _ = ClassifyDefinition().load(registry, name, ClassifySettings(threshold=threshold))
    session = Session(manifest.graph_path, provider="cpu")
    return Served(make(session), Encoder(session, manifest.pad_id), manifest)


def test_the_manifest_says_what_the_classifier_is(registry: ModelRegistry) -> None:
    for name, several in (("mood", False), ("topics", True)):
        for precision in ("fp32", "int8"):
            manifest = registry.load(f"{name}-{precision}", CLASSIFIER)
            assert manifest.labels == tuple(LABELS.values())
            assert (manifest.multi_label, manifest.pooling, manifest.dimensions) == (several, "head", 3)
        assert manifest.score_agreement is not None
        assert manifest.score_agreement.label > 0.9
        assert manifest.score_agreement.sentences == 240
        assert manifest.independence is not None
        assert manifest.independence.labels_changed == 0
        assert manifest.agreement is None


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_one_label_is_the_best_of_a_softmax(registry: ModelRegistry, precision: str) -> None:
    one = served(registry, f"mood-{precision}")
    for text, answer in zip(TEXTS, one.answers(TEXTS), strict=True):
        logits = one.logits(text)
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert answer.label == answer.labels[0] == list(LABELS.values())[int(logits.argmax())]
        assert [found.label for found in answer.scores] == [
            list(LABELS.values())[i] for i in np.argsort(-logits)
        ]
        np.testing.assert_allclose(
            [found.score for found in answer.scores], np.sort(expected)[::-1], atol=1e-4
        )
        assert answer.score == answer.scores[0].score
        assert not answer.multi_label
        assert (answer.windows > 1) == (len(text) > 200)


def test_several_labels_are_those_whose_own_score_reaches_the_threshold(registry: ModelRegistry) -> None:
    one = served(registry, "topics")
    for text, answer in zip(TEXTS, one.answers(TEXTS), strict=True):
        scores = 1 / (1 + np.exp(-one.logits(text)))
        expected = {name: score for name, score in zip(LABELS.values(), scores, strict=True) if score >= 0.5}
        assert set(answer.labels) == set(expected)
        assert answer.labels == sorted(answer.labels, key=lambda label: -expected[label])
        assert answer.multi_label
    assert all(len(answer.labels) == 3 for answer in one.answers(TEXTS, threshold=0.0))
    nothing = one.answers(TEXTS, threshold=1.0, top_k=1)
    assert all(not answer.labels and len(answer.scores) == 1 for answer in nothing)
    assert all(answer.label for answer in nothing), (
        "the best label is told, although none reaches the threshold"
    )


def test_the_setting_is_the_threshold_of_requests_that_say_none(registry: ModelRegistry) -> None:
    strict = served(registry, "mood", threshold=1.0)
    assert all(not answer.labels for answer in strict.answers(TEXTS[:2]))
    assert all(answer.labels for answer in strict.answers(TEXTS[:2], threshold=0.0))
    assert strict.task.version != served(registry, "mood").task.version
    assert served(registry, "mood").task.version == served(registry, "mood").task.version


def test_wrong_options_are_one_sentence(registry: ModelRegistry) -> None:
    task = served(registry, "mood").task
    for wrong in ({"threshold": 1.5}, {"threshold": -0.1}, {"top_k": 0}, {"top_k": 10**9}, {"top_k": "all"}):
        with pytest.raises(WrongType):
            task.options(wrong)
    with pytest.raises(
        UnknownOption, match=r"Classify has no option 'labels'; its options are: threshold, top_k"
    ):
        task.options({"labels": ["a"]})
    with pytest.raises(BlankText):
        task.prepare([Ask("\u200b", task.options({}))])


def test_models_of_another_kind_are_refused_by_their_kind(registry: ModelRegistry) -> None:
    with pytest.raises(UsageError, match="mood is a text-classifier, and a bert-encoder is needed here"):
        EmbedDefinition().load(registry, "mood", EmbedSettings())
    with pytest.raises(UnknownModel, match="pull ORG/NAME --as classifier"):
        ClassifyDefinition().load(registry, "classifier", ClassifySettings())
    with pytest.raises(UnknownModel, match="There is no model 'other'"):
        ClassifyDefinition().load(registry, "other", ClassifySettings())


def test_scores_have_no_limit_that_breaks_them() -> None:
    large = np.array([[1e6, -1e6, 0.0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert scores_of(large, multi_label=True)[0].round(6).tolist() == [1, 0, 0.5]
        assert scores_of(large, multi_label=False)[0].tolist() == [1, 0, 0]


def test_an_answer_for_people_and_for_pipes(registry: ModelRegistry, tmp_path: Path) -> None:
    definition = ClassifyDefinition()
    (sure, unsure) = (served(registry, "mood").answers(TEXTS[:1], threshold=t)[0] for t in (0.0, 1.0))
    assert definition.line(sure) == f"{sure.label}\t{sure.score:.2f}"
    assert definition.line(unsure).startswith("none\t")
    out = StringIO()
    Console(file=out).print(definition.show(sure), definition.show(unsure))
    assert f"{sure.score:.1%}" in out.getvalue()
    assert "no label reaches the threshold" in out.getvalue()


def answer(scores: dict[str, float], labels: list[str], *, several: bool = False) -> bytes:
    ordered = sorted(scores, key=lambda label: -scores[label])
    found = [LabelScore(label, scores[label]) for label in ordered]
    return msgspec.json.encode(ClassifyOutput(ordered[0], scores[ordered[0]], labels, found, several))


def test_answers_agree_that_have_the_same_labels_and_nearly_the_same_scores(registry: ModelRegistry) -> None:
    one, several = served(registry, "mood").task, served(registry, "topics").task
    first = answer({"a": 0.7, "b": 0.3}, ["a"])
    assert agree(one, first, answer({"a": 0.61, "b": 0.39}, ["a"]))
    assert not agree(one, first, answer({"a": 0.59, "b": 0.41}, ["a"])), "the score is another"
    assert not agree(one, first, answer({"a": 0.61, "b": 0.39}, [])), "no label reaches the threshold"
    close = answer({"a": 0.51, "b": 0.49}, ["a"])
    assert not agree(one, close, answer({"b": 0.51, "a": 0.49}, ["b"])), "the label is another"
    assert agree(one, answer({"a": 0.5, "b": 0.3}, ["a"]), answer({"a": 0.5, "c": 0.25}, ["a"])), "top_k is 2"
    assert not agree(one, answer({"a": 0.5, "b": 0.4}, ["a"]), answer({"a": 0.5, "c": 0.2}, ["a"]))
    both = answer({"a": 0.91, "b": 0.9}, ["a", "b"], several=True)
    assert agree(several, both, answer({"b": 0.92, "a": 0.9}, ["b", "a"], several=True))
    assert not agree(several, both, answer({"b": 0.92, "a": 0.9}, ["b"], several=True))


@pytest.mark.parametrize("name", ["mood", "topics"])
def test_the_variants_of_a_classifier_agree(registry: ModelRegistry, name: str) -> None:
    exact, small = served(registry, f"{name}-fp32"), served(registry, f"{name}-int8")
    pairs = zip(exact.answers(TEXTS), small.answers(TEXTS), strict=True)
    found = [(msgspec.json.encode(one), msgspec.json.encode(other)) for one, other in pairs]
    assert any(one != other for one, other in found)
    assert all(agree(exact.task, one, other) for one, other in found)


def test_a_release_brings_the_figures_of_the_classifier(registry: ModelRegistry) -> None:
    definition = ClassifyDefinition()
    manifest = registry.load("mood-int8")
    assert definition.release_parts(registry, "mood", ClassifySettings()).gate == manifest.gate
    evaluation = Evaluation(
        CLASSIFY, manifest.version, "mood-fp32", "0" * 12, ServedBy("cpu", "a CPU", 1, "1"), 100, "0" * 64
    )
    gate = Gate({"min_share": 0.97}, passed=True)
    path = registry.manifest_path("mood", "int8")
    write_manifest(replace(manifest, judgements={CLASSIFY: Judgement(evaluation, gate)}), path)
    try:
        found = parts_of(definition, registry, "mood", Config())
        assert (found.gate, found.metrics, found.labels) == (gate, evaluation, tuple(LABELS.values()))
        assert found.name == "mood-int8"
    finally:
        write_manifest(manifest, path)
