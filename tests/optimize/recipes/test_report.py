"""The report: one page that needs no other file, with nothing of a stranger's in it that a browser would run."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import msgspec
import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.recipes.machine import Machine
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
VARIANTS = (
    VariantRow("mine-fp32", "0" * 12, "mine", 90_000_000, 0.9),
    VariantRow("mine-int8", "1" * 12, "mine", 20_000_000, 0.89),
    VariantRow("mine-large", "2" * 12, "mine", 95_000_000, 0.88),
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


def test_the_front_has_the_variants_that_no_other_beats() -> None:
    assert {row.name for row in REPORT.variants if "size" in row.fronts} == {"mine-fp32", "mine-int8"}


def test_the_page_needs_no_other_file_and_escapes_all_texts(tmp_path: Path) -> None:
    _, _, page = write_report(REPORT, tmp_path / "out")
    text = page.read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert") == 9
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
