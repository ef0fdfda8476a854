"""What a release of each task is made of: all that its loader reads, and what is known of its model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from support.decoder_home import with_decoder
from support.static_tiers import save_static_head
from support.tiny_marian import write_tiny_marian
from support.tiny_model import HIDDEN, write_tiny_model

from inferstream.pipeline.config import Config
from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.models.judgements import write_judgement
from inferstream.pipeline.models.manifest import Lineage, write_manifest
from inferstream.pipeline.models.metrics import FITTED, ZERO_SHOT, Evaluation, Gate, Judgement, ServedBy
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.local.local import LocalReleases
from inferstream.pipeline.models.releases.parts import ReleaseParts, make_release
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.publishing import publish_release
from inferstream.pipeline.optimize.machine.machine import this_machine
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.optimize.triage.fitted_rows import files_with_fit
from inferstream.pipeline.optimize.triage.labeled import Labeled
from inferstream.pipeline.tasks.catalogue import tasks
from inferstream.pipeline.tasks.loading import loaded_model
from inferstream.pipeline.tasks.releasing import parts_of, tasks_of
from inferstream.pipeline.tasks.triage.fit_record import FIT_FILE
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore

TAXONOMY = """
[categories.refund]
description = "refund"
[categories.login]
description = "login"
"""
OPEN = Gate({"min_share": 0.97}, passed=True)


def quiet(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One model of each kind."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(home))
        registry = ModelRegistry(home)
        pull(registry, "bert", quiet, write_tiny_model(tmp_path_factory.mktemp("bert")))
        import_translator(registry, write_tiny_marian(tmp_path_factory.mktemp("marian")), quiet, "en-xx")
        with_decoder(tmp_path_factory.mktemp("llama"))
        save_static_head(home, "quick", ("refund", "login"))
        a_head(home, "shop")
        yield home


def a_head(home: Path, name: str) -> Head:
    manifest = ModelRegistry(home).load("bert-int8")
    head = Head(
        base=manifest.name,
        encoder_digest=manifest.digest,
        labels=("refund", "login"),
        dimensions=HIDDEN,
        weights=np.zeros((HIDDEN, 2), "<f4").tobytes(),
        bias=np.zeros(2, "<f4").tobytes(),
        temperature=1.0,
        measured=HeadAccuracy(80, 20, 0.9, 0.9, 0.1, 0.02),
    )
    HeadStore(home).save(name, head)
    return head


def parts(task: str, name: str, home: Path, **settings: Any) -> ReleaseParts:
    return parts_of(tasks().find(task), ModelRegistry(home), name, Config(tasks={task: settings}))


def laid_out(task: str, found: ReleaseParts, tmp_path: Path) -> ModelRegistry:
    """On another machine."""
    store = open_registry(str(tmp_path / "registry"))
    release = replace(make_release(task, found, quiet), gate=OPEN)
    publish_release(store, release, found.files, quiet)
    return ModelRegistry(LocalReleases(store, tmp_path / "other").lay_out(release))


@pytest.mark.parametrize(
    ("task", "name", "kinds"),
    [
        ("embed", "bert-int8", {".onnx", ".json"}),
        ("triage", "bert", {".onnx", ".json"}),
        ("triage", "shop", {".onnx", ".json", ".msgpack", ""}),
        ("triage", "quick", {".json", ".msgpack", ".safetensors", ""}),
        ("translate", "en-xx-int8", {".onnx", ".json", ".spm", ".bin"}),
        ("generate", "tiny", {".onnx", ".json", ".data"}),
    ],
)
def test_a_release_of_each_task_loads_on_another_machine(
    task: str, name: str, kinds: set[str], home: Path, tmp_path: Path
) -> None:
    found = parts(task, name, home)
    assert {path.suffix for path in found.files.values()} == kinds
    assert found.origin.source
    registry = laid_out(task, found, tmp_path)
    definition = tasks().find(task)
    loaded = loaded_model(definition, registry, found.name, definition.settings())
    here = loaded_model(definition, ModelRegistry(home), name, definition.settings())
    if here.manifest is None:
        assert loaded.manifest is None
    else:
        assert loaded.manifest is not None
        assert loaded.manifest.digest == here.manifest.digest


def test_a_release_brings_the_taxonomy_of_the_settings(home: Path, tmp_path: Path) -> None:
    taxonomy = tmp_path / "mine.toml"
    taxonomy.write_text(TAXONOMY)
    found = parts("triage", "bert", home, taxonomy=str(taxonomy))
    assert found.files["settings/triage/taxonomy.toml"] == taxonomy
    assert found.labels == ("refund", "login")
    registry = laid_out("triage", found, tmp_path)
    taxonomy.write_text("wrong")
    definition = tasks().find("triage")
    settings = definition.settings(taxonomy=str(taxonomy))
    loaded_model(definition, registry, found.name, settings)  # its own one counts
    with pytest.raises(UsageError, match="not valid TOML"):
        loaded_model(definition, ModelRegistry(home), "bert", settings)


def test_a_release_brings_the_glossary_of_the_settings(home: Path, tmp_path: Path) -> None:
    glossary = tmp_path / "terms.csv"
    glossary.write_text("term,translation\nPix,\n")
    found = parts("translate", "en-xx-int8", home, glossary=str(glossary))
    assert found.files["settings/translate/glossary.csv"] == glossary
    registry = laid_out("translate", found, tmp_path)
    assert (
        registry.setting_file("translate", "glossary")
        == registry.root.parent / "settings/translate/glossary.csv"
    )


def test_the_tasks_of_a_model(home: Path) -> None:
    found = {
        name: list(tasks_of(ModelRegistry(home), name, Config()))
        for name in ("bert", "shop", "en-xx", "tiny")
    }
    assert found == {
        "bert": ["triage", "embed"],
        "shop": ["triage"],
        "en-xx": ["translate"],
        "tiny": ["generate"],
    }
    with pytest.raises(UnknownModel, match="There is no model 'nothing'"):
        tasks_of(ModelRegistry(home), "nothing", Config())


def test_what_is_known_of_the_model_is_its_gate(home: Path) -> None:
    registry = ModelRegistry(home)
    assert parts("embed", "bert-fp32", home).gate == Gate({}, passed=True), "the original"
    pulled = Gate({"min_agreement": 0.9}, passed=True)
    assert parts("embed", "bert-int8", home).gate == pulled, "that of its making"
    manifest = registry.load("bert-int8")
    evaluation = Evaluation(
        FITTED, manifest.version, "bert-fp32", "0" * 12, ServedBy("cpu", "a CPU", 1, "1"), 100, "0" * 64
    )
    judged = replace(manifest, judgements={FITTED: Judgement(evaluation, OPEN)})
    write_manifest(judged, registry.manifest_path("bert", "int8"))
    try:
        found = parts("embed", "bert-int8", home)
        assert (found.gate, found.metrics) == (OPEN, evaluation)
        assert parts("triage", "shop", home).gate is None, "another head on its vectors was measured"
        assert parts("triage", "bert-int8", home).gate == pulled, "its zero-shot answers were not"
        folder = HeadStore(home).root / "shop" / HeadStore(home).current("shop")
        forced = Gate({"min_share": 0.97}, False, ("It kept 90 %.",), forced=True)
        write_judgement(folder, Judgement(evaluation, forced))
        assert parts("triage", "shop", home).gate is None, "one of another version"
        of_shop = replace(evaluation, version=folder.name)
        write_judgement(folder, Judgement(of_shop, forced))
        found = parts("triage", "shop", home)
        assert (found.gate, found.metrics) == (forced, of_shop)
        assert any(path.endswith("/judgement.json") for path in found.files)
        (folder / "judgement.json").unlink()
    finally:
        write_manifest(manifest, registry.manifest_path("bert", "int8"))


def test_a_pruned_variant_answers_zero_shot_only_by_a_judgement_on_that(home: Path) -> None:
    registry = ModelRegistry(home)
    manifest = registry.load("bert-int8")
    evaluation = Evaluation(
        FITTED, manifest.version, "bert-fp32", "0" * 12, ServedBy("cpu", "a CPU", 1, "1"), 100, "0" * 64
    )
    lineage = Lineage("bert-fp32", manifest.version, "prune", 0.6, 100, "f" * 64)
    pruned = replace(manifest, lineage=lineage, gate=OPEN, judgements={FITTED: Judgement(evaluation, OPEN)})
    closed = Gate({"min_share": 0.97}, passed=False, failures=("It keeps 94.8 %.",))
    try:
        for forced in (False, True):
            made = replace(pruned, gate=replace(OPEN, forced=forced))
            write_manifest(made, registry.manifest_path("bert", "int8"))
            gate = parts("triage", "bert-int8", home).gate
            assert gate is not None
            assert not gate.open, "however it was made"
            assert "fitted" in gate.failures[0]
            assert parts("embed", "bert-int8", home).gate.open
        for gate in (OPEN, closed):
            judged = {ZERO_SHOT: Judgement(replace(evaluation, use=ZERO_SHOT), gate)}
            write_manifest(
                replace(pruned, judgements=pruned.judgements | judged), registry.manifest_path("bert", "int8")
            )
            definition, open_registry_of = tasks().find("triage"), ModelRegistry(home, judged=False)
            found = parts_of(definition, open_registry_of, "bert-int8", Config())
            assert (found.gate, found.use) == (gate, ZERO_SHOT)
    finally:
        write_manifest(replace(manifest, judgements={}), registry.manifest_path("bert", "int8"))


def test_a_fitted_model_is_told_with_its_fit_and_without_the_digests_of_its_texts(home: Path) -> None:
    folder = HeadStore(home).root / "shop" / HeadStore(home).current("shop")
    before = parts("triage", "shop", home)
    rows = Labeled(["a refund", "my login"], ["refund", "login"], {}, {})
    (folder / FIT_FILE).write_bytes(files_with_fit({}, rows)[FIT_FILE])
    try:
        found = parts("triage", "shop", home)
    finally:
        (folder / FIT_FILE).unlink()
    assert found.files == before.files
    assert found.origin.data["fit"] == rows.digest
    assert found.origin.made_on == this_machine().name
    assert found.origin.made_with["numpy"] == np.__version__


def test_a_pruned_variant_that_was_not_measured_has_no_gate_and_says_what_it_is_made_of(home: Path) -> None:
    registry = ModelRegistry(home)
    manifest = registry.load("bert-fp32")
    lineage = Lineage("bert-fp32", manifest.version, "prune", 0.6, 100, "f" * 64)
    write_manifest(replace(manifest, lineage=lineage), registry.manifest_path("bert", "fp32"))
    try:
        found = parts("embed", "bert-fp32", home)
        assert found.gate is None
        assert found.origin.steps[0] == f"prune 0.6 of bert-fp32 {manifest.version}"
        assert found.origin.data == {"prune": "f" * 64}
    finally:
        write_manifest(manifest, registry.manifest_path("bert", "fp32"))


def test_a_release_that_would_lack_a_file_is_not_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = tasks().find("triage")
    whole = parts("triage", "shop", home)
    files = {path: place for path, place in whole.files.items() if not path.endswith(".onnx")}
    monkeypatch.setattr(type(definition), "release_parts", lambda *_: whole._replace(files=files))
    with pytest.raises(
        ModelError, match=r"A release of shop would not be whole: the release/.* is absent or damaged"
    ):
        parts("triage", "shop", home)
    assert not list(home.glob(".release-*"))
