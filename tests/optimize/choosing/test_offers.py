"""`models choose` with tiny encoders: figures of this machine alone are believed; others are measured anew."""

import json
from pathlib import Path
from shutil import rmtree

import pytest
from msgspec.structs import replace
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import UnknownModel
from inferstream.pipeline.models.manifest import read_manifest, write_manifest
from inferstream.pipeline.models.metrics import FITTED, ZERO_SHOT, MachineSpeed, ServedBy
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.choosing.offers import offers
from inferstream.pipeline.optimize.machine.devices import served_by
from inferstream.pipeline.optimize.pull.pulling import pull

ELSEWHERE = ServedBy("cpu", "another CPU", 1, "1.0")


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    folder = tmp_path_factory.mktemp("offers")
    registry = ModelRegistry(folder / "home", judged=False)
    pull(registry, "tiny", quiet, write_tiny_model(folder / "tiny"))
    return registry


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is one."""
    monkeypatch.setattr(
        "inferstream.pipeline.optimize.choosing.offers.usable", lambda provider: provider == "cpu"
    )


def path_of(registry: ModelRegistry, precision: str = "int8") -> Path:
    return registry.manifest_path("tiny", precision)


def put_speeds(registry: ModelRegistry, *speeds: MachineSpeed) -> None:
    for precision in ("fp32", "int8"):
        path = path_of(registry, precision)
        manifest = read_manifest(path)
        path.unlink()  # what is written over an older manifest keeps its speeds
        write_manifest(replace(manifest, speeds=speeds), path)


def test_figures_of_another_machine_are_not_believed_and_its_lengths_are_measured_here(
    registry: ModelRegistry,
) -> None:
    there = MachineSpeed(ELSEWHERE, (3, 9, 40), (), 1e-6, 1e-6, 1e9)
    put_speeds(registry, there)
    found, not_measured = offers(registry, "tiny", FITTED, quiet)
    assert {one.name: one.rows_per_s for one in found}.keys() == {"tiny-fp32", "tiny-int8"}
    assert all(one.p99_ms > 1e-6 and one.rows_per_s < 1e9 for one in found)
    kept = read_manifest(path_of(registry)).speeds
    assert [one.served_by for one in kept] == [served_by("cpu"), ELSEWHERE]
    assert max(kept[0].tokens) <= 40, "of the lengths that the data there had"
    assert len(kept[0].tokens) == 3
    assert set(not_measured) == {"cuda", "tensorrt"}


def test_figures_of_this_machine_are_not_measured_again(registry: ModelRegistry) -> None:
    here = MachineSpeed(served_by("cpu"), (3,), (), 0.5, 0.75, 1234.0)
    put_speeds(registry, here)
    steps: list[str] = []
    found, _ = offers(registry, "tiny", FITTED, lambda step, done, total: steps.append(step))
    assert [(one.p50_ms, one.p99_ms, one.rows_per_s) for one in found] == [(0.5, 0.75, 1234.0)] * 2
    assert steps == []
    by_name = {one.name: one for one in found}
    assert by_name["tiny-fp32"].agreement == 1
    assert by_name["tiny-int8"].note == "as tiny-fp32 on 240 shipped sentences"


def test_fitted_models_are_offered_unless_the_answers_are_by_a_taxonomy(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(registry.root.parent))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    put_speeds(registry, MachineSpeed(served_by("cpu"), (3,), (), 0.5, 0.75, 1234.0))
    tickets = tmp_path / "tickets.csv"
    rows = [f"{topic} {other},{topic}" for topic in ("card", "refund") for other in WORDS]
    tickets.write_text("\n".join(["text,label", *rows]))
    fit = ["triage", "fit", str(tickets), "--name", "shop", "--base", "tiny-int8", "--no-static"]
    assert run(fit) == 0
    by_name = {one.name: one for one in offers(registry, "tiny", FITTED, quiet).found}
    assert by_name.keys() == {"tiny-fp32", "tiny-int8", "shop"}
    assert by_name["shop"].rows_per_s is None
    assert by_name["shop"].note == "not measured here: inferstream models evaluate shop DATA"
    assert run(["models", "evaluate", "shop", str(tickets)]) == 0
    (shop,) = offers(registry, "shop", FITTED, quiet).found
    assert shop.rows_per_s > 0
    assert shop.agreement == 1
    assert "shop" not in {one.name for one in offers(registry, None, ZERO_SHOT, quiet).found}
    rmtree(registry.root.parent / "heads")


def test_another_version_of_the_runtime_counts_as_another_machine(registry: ModelRegistry) -> None:
    here = served_by("cpu")
    put_speeds(registry, MachineSpeed(replace(here, runtime="0.1"), (3,), (), 0.5, 0.75, 1e9))
    found, _ = offers(registry, "tiny", FITTED, quiet)
    assert all(one.rows_per_s != 1e9 for one in found)


def test_the_command_prints_the_choice_and_its_status_says_whether_there_is_one(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(registry.root.parent))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    put_speeds(registry, MachineSpeed(served_by("cpu"), (3,), (), 0.5, 0.75, 1234.0))
    assert run(["models", "choose", "tiny", "--latency-ms", "20", "--min-agreement", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "cuda: not usable on this machine, so nothing was measured." in printed
    assert "the fastest of 2 that fit" in printed
    assert run(["models", "choose", "--latency-ms", "0.1", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["chosen"] is None
    assert "nothing keeps --latency-ms" in document["reason"]
    assert document["offers"][0]["misses"] == ["--latency-ms: 0.75"]
    assert run(["models", "choose", "nothing"]) != 0
    assert "There is no model 'nothing' here" in capsys.readouterr().err


def test_there_is_nothing_to_choose_without_models(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="There is no encoder here"):
        offers(ModelRegistry(tmp_path, judged=False), None, FITTED, quiet)
