"""Triage with the real model: the example tickets, long texts, models by name."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from support import ROOT
from support.minilm_model import MiniLM

from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.triage.fit import fit
from inferstream.pipeline.optimize.triage.labeled import read_labeled
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.triage.head import Head, HeadStore
from inferstream.pipeline.tasks.triage.loading import load_triage
from inferstream.pipeline.tasks.triage.settings import TriageSettings
from inferstream.pipeline.tasks.triage.task import Triage
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

TICKETS = ROOT / "examples" / "tickets.jsonl"


@pytest.fixture
def registry(minilm: MiniLM, tmp_path: Path) -> ModelRegistry:
    """The real models, in a home without fitted ones."""
    (tmp_path / "models").symlink_to(minilm.registry.root, target_is_directory=True)
    return ModelRegistry(tmp_path)


@pytest.fixture(scope="session")
def head(minilm: MiniLM) -> Head:
    """Fitted on the short ones of the example tickets."""
    data = read_labeled(TICKETS, "text", "expected")
    short = data.at([i for i, text in enumerate(data.texts) if len(text) < 250])
    return fit(short, None, minilm.manifest, minilm.tokenizer, minilm.session, lambda *_: None).head


def answers(task: Triage, minilm: MiniLM, texts: list[str]) -> list[dict[str, object]]:
    """One text at a time."""
    encoder = Encoder(minilm.session, minilm.manifest.pad_id)
    found = []
    for rows in task.prepare([Ask(text, task.options({})) for text in texts]):
        outputs = [encoder.step([row])[0] for row in rows]
        found.append(json.loads(task.finish([Finished(outputs, rows, task.options({}))])[0]))
    return found


def test_zero_shot_on_the_example_tickets(registry: ModelRegistry, minilm: MiniLM) -> None:
    _, make, _ = load_triage(registry, "minilm-int8", TriageSettings())
    task = make(minilm.session)
    tickets = [json.loads(line) for line in TICKETS.read_text("utf-8").splitlines()]
    found = answers(task, minilm, [ticket["text"] for ticket in tickets])
    right = [a["category"] == ticket["expected"] for a, ticket in zip(found, tickets, strict=True)]
    sure = [r for r, a in zip(right, found, strict=True) if not a["needs_human"]]
    assert sum(right) / len(right) > 0.78
    assert sum(sure) / len(sure) > sum(right) / len(right), "confidence tells the right ones from the wrong"
    assert 0.7 < len(sure) / len(right) < 0.98
    assert max(int(str(a["windows"])) for a in found) >= 4, "the longest is read to its end"


def test_urgency_raises_the_priority(registry: ModelRegistry, minilm: MiniLM) -> None:
    _, make, _ = load_triage(registry, "minilm-int8", TriageSettings())
    calm, urgent = answers(
        make(minilm.session),
        minilm,
        [
            "the lock does not open",
            "The lock does not open and my baby is inside, this is an emergency, help now!",
        ],
    )
    order = ["low", "normal", "high", "urgent"]
    assert order.index(str(urgent["priority"])) > order.index(str(calm["priority"]))


def test_a_fitted_model_is_served_by_its_name(registry: ModelRegistry, minilm: MiniLM, head: Head) -> None:
    HeadStore(registry.root.parent).save("shop", head)
    manifest, make, _ = load_triage(registry, "shop", TriageSettings())
    task = make(minilm.session)
    assert (manifest.name, task.model) == ("minilm-int8", "shop")
    (found,) = answers(task, minilm, ["I was charged twice, give me my money back"])
    assert (found["category"], found["route"]) == ("payment_problem", "billing")


def test_the_head_gives_routes_that_the_taxonomy_lacks(
    registry: ModelRegistry, minilm: MiniLM, head: Head, tmp_path: Path
) -> None:
    taxonomy = tmp_path / "t.toml"
    taxonomy.write_text(
        'default_route = "desk"\n[categories.payment_problem]\ndescription = "money"\nroute = "cash"\n'
        '[categories.other]\ndescription = "other"\n'
    )
    brought = {"login_problem": "it", "payment_problem": "ignored"}
    HeadStore(registry.root.parent).save("shop", replace(head, routes=brought))
    _, make, _ = load_triage(registry, "shop", TriageSettings(taxonomy=str(taxonomy)))
    texts = [
        "I was charged twice",
        "I cannot log in, forgot my password",
        "my parcel has not been delivered yet",
    ]
    assert [a["route"] for a in answers(make(minilm.session), minilm, texts)] == ["cash", "it", "desk"]
    HeadStore(registry.root.parent).save("shop", replace(head, priorities={"login_problem": "P1"}))
    _, make, _ = load_triage(registry, "shop", TriageSettings(taxonomy=str(taxonomy)))
    with pytest.raises(UsageError, match=r"gives 'login_problem' the priority 'P1'.* add it to `priorities`"):
        make(minilm.session)


def test_another_encoder_is_refused(registry: ModelRegistry, head: Head) -> None:
    heads = HeadStore(registry.root.parent)
    heads.save("shop", replace(head, encoder_digest=b"another"))
    with pytest.raises(ModelError, match=r"shop was fitted on another build of minilm-int8 .* --name shop"):
        load_triage(registry, "shop", TriageSettings())
    heads.save("shop", replace(head, base="minilm-fp32"))
    with pytest.raises(ModelError, match="shop was fitted on another build of minilm-fp32"):
        load_triage(registry, "shop", TriageSettings())


def test_a_threshold_counts_the_same_in_settings_and_taxonomy(
    registry: ModelRegistry, minilm: MiniLM, head: Head
) -> None:
    HeadStore(registry.root.parent).save("shop", head)

    def version(threshold: float | None) -> str:
        _, make, _ = load_triage(registry, "shop", TriageSettings(threshold=threshold))
        return make(minilm.session).version

    assert version(None) == version(load_taxonomy().threshold) != version(0.77)


def test_unknown_names_and_thresholds(registry: ModelRegistry, head: Head) -> None:
    HeadStore(registry.root.parent).save("shop", head)
    with pytest.raises(UnknownModel, match=r"no model 'shopp'.*Fitted models: shop\."):
        load_triage(registry, "shopp", TriageSettings())
    with pytest.raises(UsageError, match=r"must lie between 0 and 1, not 2\.0"):
        load_triage(registry, "shop", TriageSettings(threshold=2.0))
