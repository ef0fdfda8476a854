"""A model with its tiers, fitted on the example tickets: what each costs and wins, stored, and served."""

from pathlib import Path

import pytest
from support import ROOT
from support.minilm_model import MiniLM

from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.triage.fit import Fitted, fit
from inferstream.pipeline.optimize.triage.fit_tiers import FitEncoder, FittedTiers, fit_tiers
from inferstream.pipeline.optimize.triage.labeled import read_labeled
from inferstream.pipeline.optimize.triage.static import rows as rows_module
from inferstream.pipeline.optimize.triage.tiers import scores_of
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.loading import TriageModel
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

TICKETS = ROOT / "examples" / "tickets.jsonl"
LABELS = {"payment_problem", "login_problem", "delivery_status", "cancellation"}


@pytest.fixture(scope="module")
def fitted(minilm: MiniLM) -> Fitted:
    data = read_labeled(TICKETS, "text", "expected")
    some = data.at([i for i, label in enumerate(data.labels) if label in LABELS and len(data.texts[i]) < 250])
    return fit(some, None, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None)


@pytest.fixture(scope="module")
def tiers(minilm: MiniLM, fitted: Fitted) -> FittedTiers:
    encoder = FitEncoder(minilm.manifest, minilm.tokenizer, minilm.session)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "MAX_ROWS", 2_000)  # the rest of the vocabulary takes 5 s
        return fit_tiers(fitted, encoder, load_taxonomy(), "static", lambda *_: None)


def test_the_report_has_both_tiers(fitted: Fitted, tiers: FittedTiers) -> None:
    encoder, static = tiers.reports
    assert (encoder.tier, static.tier) == ("encoder", "static")
    assert (encoder.accuracy, encoder.by_static) == (fitted.report.accuracy, 0.0)
    assert static.accuracy > 0.5, "from 16 tickets a label"
    assert (static.accuracy, static.by_static) == (tiers.report.accuracy, 1.0)
    assert static.size_bytes == sum(map(len, tiers.files.values())) < encoder.size_bytes
    assert static.tickets_per_s > encoder.tickets_per_s


def test_what_is_stored_is_what_was_measured(
    minilm: MiniLM, fitted: Fitted, tiers: FittedTiers, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(minilm.registry.root, target_is_directory=True)
    HeadStore(tmp_path).save("shop", tiers.head, tiers.files)
    model = TriageModel(ModelRegistry(tmp_path), "shop", None)
    assert model.served == "static"
    assert tiers.head.measured == fitted.head.measured
    assert tiers.head.measured_served.accuracy == tiers.report.accuracy
    rows = fitted.rows
    for tier, accuracy in (("static", tiers.report.accuracy), ("encoder", fitted.report.accuracy)):
        made = scores_of(model, tier, rows.test.texts, lambda *_: None)  # type: ignore[arg-type]
        assert (made.scores.argmax(axis=1) == rows.test_truth).mean() == pytest.approx(accuracy)


def test_without_its_static_tier_the_head_is_that_of_the_fit(fitted: Fitted, tiers: FittedTiers) -> None:
    assert tiers.head.weights == fitted.head.weights
    assert fitted.head.files == {}
    assert set(tiers.head.files) == set(tiers.files)
