"""The report: one page that needs no other file, with nothing of a stranger's in it that a browser would run."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import msgspec
import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.metrics import (
    FITTED,
    Estimate,
    Evaluation,
    Gate,
    LabelMetrics,
    MachineSpeed,
    ServedBy,
    ShapeLatency,
)
from inferstream.pipeline.optimize.machine.machine import Machine
from inferstream.pipeline.optimize.recipes.report.building import write_report
from inferstream.pipeline.optimize.recipes.report.report import (
    FORMAT,
    DataFacts,
    RecipeReport,
    StepRow,
    VariantRow,
    with_fronts,
)

EVIL = '<script>alert("1")</script>'
HERE = ServedBy("cpu", EVIL, 1, "1")


def variant(name: str, size_bytes: int, accuracy: float, p50_ms: float) -> VariantRow:
    speed = MachineSpeed(HERE, (4,), (ShapeLatency(4, p50_ms, 9.0),), p50_ms, 9.0, 1e3 / p50_ms)
    found = Evaluation(
        use=FITTED,
        version="0" * 12,
        original="mine-fp32",
        original_version="0" * 12,
        served_by=HERE,
        rows=20,
        rows_sha256="a" * 64,
        accuracy=Estimate(accuracy, accuracy - 0.1, accuracy + 0.1),
        by_label={EVIL: LabelMetrics(20, 1.0, 1.0)},
        speeds=(speed,),
    )
    gate = Gate({"min_share": 0.97}, passed=False, failures=(EVIL,))
    return VariantRow(name, "0" * 12, "mine", size_bytes, evaluation=found, gate=gate)


VARIANTS = (
    variant("mine-fp32", 90_000_000, 0.9, 3.0),
    variant("mine-int8", 20_000_000, 0.89, 2.0),
    variant("mine-large", 95_000_000, 0.88, 1.0),
    VariantRow("unmeasured", "3" * 12, "mine", 1_000_000),
)
REPORT = RecipeReport(
    format=FORMAT,
    made_at="2026-01-01T00:00:00+00:00",
    about=EVIL,
    recipe=f"about = '{EVIL}'",
    commands=(f"inferstream optimize {EVIL}",),
    machine=Machine(EVIL, 2, None, "Linux", "3.11"),
    versions={"numpy": EVIL},
    seeds={"bootstrap": 0},
    data=DataFacts(EVIL, EVIL, "a" * 64, 80, 20, 4, 0),
    steps=(StepRow("prune", "mine", {"label": EVIL}, {}, {}, "k", 1.0, False, "", (EVIL,)),),
    variants=with_fronts(VARIANTS),
)


@pytest.mark.parametrize(
    ("axis", "names"),
    [
        ("size", {"mine-fp32", "mine-int8"}),
        ("latency", {"mine-fp32", "mine-int8", "mine-large"}),
        ("throughput", {"mine-fp32", "mine-int8", "mine-large"}),
    ],
)
def test_the_front_has_the_variants_that_no_other_beats(axis: str, names: set[str]) -> None:
    assert {row.name for row in REPORT.variants if axis in row.fronts} == names


def test_the_page_needs_no_other_file_and_escapes_all_texts(tmp_path: Path) -> None:
    _, _, page = write_report(REPORT, tmp_path / "out")
    text = page.read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert") == 15
    assert text.count("<svg") == 3, "accuracy against latency, throughput and size"
    assert "src=" not in text
    assert 'rel="stylesheet"' not in text
    svg = text[text.index("<svg") : text.index("</svg>") + 6]
    ET.fromstring(svg)
    assert "mine-int8" in svg
    assert "currentColor" in svg, "readable on a dark page"
    assert "unmeasured" not in svg


def test_the_json_has_its_schema(tmp_path: Path) -> None:
    recipe, json, _ = write_report(REPORT, tmp_path)
    assert recipe.read_text() == REPORT.recipe
    jsonschema.validate(msgspec.json.decode(json.read_bytes()), msgspec.json.schema(RecipeReport))
    assert msgspec.json.decode(json.read_bytes(), type=RecipeReport) == REPORT


def test_without_matplotlib_the_page_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "inferstream.pipeline.optimize.recipes.report.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, json, page = write_report(REPORT, tmp_path)
    assert "pip install &#39;.[bench]&#39;" in page.read_text()
    assert "<svg" not in page.read_text()
    assert json.exists()


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="name another folder by --out; what the steps made is kept"):
        write_report(REPORT, tmp_path / "file")
