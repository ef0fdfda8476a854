"""A cascade fitted on the example tickets: what is chosen, measured, stored and served."""

from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from support import ROOT
from support.minilm_model import MiniLM

from inferstream import Config, Edge, TriageOutput
from inferstream.pipeline.config import CacheConfig
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.triage.cascade.crossed import FoldTiers, crossed_pairs
from inferstream.pipeline.optimize.triage.cascade.fit import ChangeLimit, tiers_with_cascade, with_cascade
from inferstream.pipeline.optimize.triage.fit import Fitted, fit
from inferstream.pipeline.optimize.triage.fit_tiers import FitEncoder, FittedTiers
from inferstream.pipeline.optimize.triage.labeled import read_labeled
from inferstream.pipeline.optimize.triage.static import rows as rows_module
from inferstream.pipeline.optimize.triage.tiers import scores_of
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.loading import TriageModel
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

TICKETS = ROOT / "examples" / "tickets.jsonl"
LABELS = {"payment_problem", "login_problem", "delivery_status", "cancellation"}
TAXONOMY = load_taxonomy()


@pytest.fixture(scope="module")
def encoder(minilm: MiniLM) -> FitEncoder:
    return FitEncoder(minilm.manifest, minilm.tokenizer, minilm.session)


@pytest.fixture(scope="module")
def fitted(minilm: MiniLM) -> Fitted:
    data = read_labeled(TICKETS, "text", "expected")
    some = data.at([i for i, label in enumerate(data.labels) if label in LABELS and len(data.texts[i]) < 250])
    return fit(some, None, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None)


@pytest.fixture(scope="module")
def tiers(encoder: FitEncoder, fitted: Fitted) -> FittedTiers:
    """With so few tickets only a high limit lets the static tier answer anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "MAX_ROWS", 2_000)  # the rest of the vocabulary takes 5 s
        return tiers_with_cascade(
            fitted, encoder, TAXONOMY, "cascade", ChangeLimit(0.3, "expected"), lambda *_: None
        )


def test_what_is_chosen_and_measured(fitted: Fitted, tiers: FittedTiers) -> None:
    cascade = tiers.head.cascade
    assert cascade
    measured = cascade.measured
    assert measured.rows == len(fitted.rows.train.texts)
    assert measured.foreign_rows >= 4
    assert 0 < measured.share <= 1
    assert measured.changed <= 0.3
    encoder, static, both, together = tiers.reports
    assert (both.tier, tiers.head.served) == ("cascade", "cascade")
    assert both.accuracy == tiers.report.accuracy >= min(encoder.accuracy, static.accuracy) - 0.2
    assert 0 < both.by_static <= 1
    assert together.tier == "ensemble"
    assert together.accuracy >= max(encoder.accuracy, static.accuracy) - 0.1
    assert together.tickets_per_s < encoder.tickets_per_s
    assert encoder.tickets_per_s < both.tickets_per_s < static.tickets_per_s


def test_too_few_tickets_for_the_limit_leave_all_to_the_encoder(
    encoder: FitEncoder, fitted: Fitted, tiers: FittedTiers
) -> None:
    strict = with_cascade(
        tiers._replace(reports=tiers.reports[:2]), fitted, encoder, TAXONOMY, ChangeLimit(), lambda *_: None
    )
    assert strict.head.cascade
    assert strict.head.cascade.measured.share == strict.changed_on_test == strict.reports[2].by_static == 0
    assert strict.report.accuracy == fitted.report.accuracy


def test_no_tier_judges_a_text_that_it_was_fitted_on(
    minilm: MiniLM, fitted: Fitted, tiers: FittedTiers
) -> None:
    """A ticket that is twice in the file, in two folds, is left out; each fold gets its part of the foreign texts."""
    texts = list(fitted.rows.train.texts)
    folds = [
        FoldTiers(left, static, classifier)
        for (left, classifier), static in zip(fitted.teacher.folds, tiers.static_folds, strict=True)
    ]
    assert sorted(row for fold in folds for row in fold.left.tolist()) == list(range(len(texts)))
    texts[int(folds[0].left[0])] = texts[int(folds[1].left[0])]
    axis = np.zeros(384, np.float32)
    vectors = fitted.teacher.vectors
    crossed = crossed_pairs(texts, vectors, folds, axis, minilm.tokenizer, minilm.session)
    assert len(crossed.tickets.confidence) == len(texts) - 2
    assert len(crossed.foreign.confidence) == 2 * round(len(texts) * 0.05)


async def test_it_is_served(
    minilm: MiniLM,
    fitted: Fitted,
    tiers: FittedTiers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answers and their tiers are those that were measured; a sampled text goes to the encoder."""
    (tmp_path / "models").symlink_to(minilm.registry.root, target_is_directory=True)
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    HeadStore(tmp_path).save("shop", tiers.head, tiers.files)
    texts = fitted.rows.test.texts
    config = Config(cache=CacheConfig(disk_bytes=0), tasks={"triage": {"shadow": 0.0}})
    async with Edge(config, models=["shop"]) as client:
        outputs = [(await client.request("triage", text)).output for text in texts]
    assert all(isinstance(output, TriageOutput) for output in outputs)
    labels = [fitted.rows.labels[truth] for truth in fitted.rows.test_truth]
    right = np.mean([output.category == label for output, label in zip(outputs, labels, strict=True)])  # type: ignore[union-attr]
    by_static = np.mean([output.tier == "static" for output in outputs])  # type: ignore[union-attr]
    assert right == pytest.approx(tiers.report.accuracy)
    assert by_static == pytest.approx(tiers.reports[2].by_static)


async def test_an_ensemble_is_served(
    minilm: MiniLM, fitted: Fitted, tiers: FittedTiers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are those that were measured, and its confidences those of both tiers together."""
    (tmp_path / "models").symlink_to(minilm.registry.root, target_is_directory=True)
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    HeadStore(tmp_path).save("shop", replace(tiers.head, serve="ensemble"), tiers.files)
    texts = fitted.rows.test.texts
    model = TriageModel(ModelRegistry(tmp_path), "shop", None)
    expected = scores_of(model, "ensemble", texts, lambda *_: None).confidences
    async with Edge(Config(cache=CacheConfig(disk_bytes=0)), models=["shop"]) as client:
        outputs = [(await client.request("triage", text)).output for text in texts]
    for output, confidences in zip(outputs, expected, strict=True):
        assert isinstance(output, TriageOutput)
        assert output.category == fitted.rows.labels[int(confidences.argmax())]
        assert output.confidence == pytest.approx(float(confidences.max()), abs=2e-3)
        assert output.tier is UNSET
    right = np.mean(expected.argmax(axis=1) == fitted.rows.test_truth)
    assert right == pytest.approx(tiers.reports[-1].accuracy)
