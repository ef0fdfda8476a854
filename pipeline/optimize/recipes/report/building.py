"""Makes the report of a run, and writes its files."""

import os
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from ....errors import UsageError
from ....models.files import publish
from ....models.manifest import Manifest
from ....models.metrics import Evaluation, Gate
from ....models.registry import ModelRegistry
from ....tasks.triage.head import HEAD_FILE, STATIC_TIER, HeadStore
from ...distill import training as distill_training
from ...evaluation.figures import bootstrap
from ...evaluation.served_models import files_of
from ...machine.machine import Machine, versions
from ...triage import fit, regression
from ...triage.cascade import foreign
from ...triage.static.training import TRAINING
from ..offered import AdaptedRecipe
from ..reading import write_recipe
from ..recipe import Recipe
from ..rows import RecipeRows
from ..runner import DoneStep
from ..steps.publish import PublishMaking
from .installation import install_commands
from .page import page_of
from .report import FORMAT, DataFacts, RecipeReport, StepRow, VariantRow, with_fronts

RECIPE_FILE: Final = "recipe.toml"
JSON_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"
SEEDS: Final = {
    "rows held out": fit.SEED,
    "rows drawn from many, to be measured": fit.SEED,
    "folds of a head": regression.SEED,
    "training of a static tier": TRAINING.seed,
    "training of a distilled encoder": distill_training.SEED,
    "foreign and mangled texts": foreign.SEED,
    "intervals": bootstrap.SEED,
}
"""How a text is mangled is drawn by the text itself."""


def report_of(
    registry: ModelRegistry,
    adapted: AdaptedRecipe,
    rows: RecipeRows,
    carried: Sequence[DoneStep],
    machine: Machine,
) -> RecipeReport:
    """The report of a run."""
    recipe = adapted.recipe
    used = any(one.record.rows_sha256 for one in carried)
    found = versions()
    return RecipeReport(
        format=FORMAT,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        about=recipe.about,
        recipe=write_recipe(recipe),
        commands=(*install_commands(found), _run_again(carried)),
        machine=machine,
        versions=found,
        seeds=SEEDS,
        data=_facts(recipe, rows) if used else None,
        steps=tuple(map(_step_row, carried)),
        variants=with_fronts(tuple(_variant_rows(registry, carried))),
        left_out=adapted.notes,
    )


def write_report(report: RecipeReport, folder: Path) -> list[Path]:
    """Write recipe.toml, report.json and report.html, each at once; returns their paths. Raises UsageError."""
    contents = {
        RECIPE_FILE: report.recipe,
        JSON_FILE: msgspec.json.format(msgspec.json.encode(report), indent=2).decode(),
        PAGE_FILE: page_of(report, _plots(report)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            part = folder / f"{name}.{os.getpid()}.part"
            try:
                part.write_text(content, "utf-8")
                publish(part, folder / name)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write the report to {folder} ({error.strerror}): name another folder by --out; what the steps "
            "made is kept."
        ) from error
    return [folder / name for name in contents]


def _plots(report: RecipeReport) -> dict[str, str] | None:
    try:
        from .plots import plots_of
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    return plots_of(report)


def _run_again(carried: Sequence[DoneStep]) -> str:
    """The command that runs the recipe of the report, and publishes into the same registry."""
    named = (one.record.settings.get("registry") for one in carried if one.record.kind == PublishMaking.kind)
    registry = next(filter(None, named), None)
    return f"inferstream optimize {RECIPE_FILE}" + (
        f" --registry {shlex.quote(registry)}" if registry else ""
    )


def _facts(recipe: Recipe, rows: RecipeRows) -> DataFacts:
    return DataFacts(
        file=str(recipe.data.file),
        test=recipe.data.test,
        sha256=rows.digest,
        known=rows.counts.known,
        unseen=rows.counts.unseen,
        labels=rows.counts.labels,
        skipped=rows.skipped,
    )


def _step_row(carried: DoneStep) -> StepRow:
    record = carried.record
    return StepRow(
        kind=record.kind,
        name=record.name,
        settings=record.settings,
        made_of=record.inputs,
        made=record.result.models | record.result.heads,
        key=record.key,
        seconds=record.seconds,
        kept=carried.kept,
        made_at=record.made_at,
        notes=record.result.notes,
    )


def _variant_rows(registry: ModelRegistry, done: Sequence[DoneStep]) -> Iterator[VariantRow]:
    """A row for each variant, in the order in which they were made; the step that made it first is named."""
    evaluations: dict[str, Evaluation] = {}
    gates: dict[str, Gate] = {}
    rows: dict[str, VariantRow] = {}
    for one in done:
        result = one.record.result
        evaluations |= result.evaluations
        gates |= result.gates
        for name in result.models:
            rows.setdefault(name, _variant_row(registry.load(name), one.record.name))
        for name, version in result.heads.items():
            rows[name] = _fitted_row(registry, name, version, one.record.name)
    for name, row in rows.items():
        yield msgspec.structs.replace(row, evaluation=evaluations.get(name), gate=gates.get(name))


def _fitted_row(registry: ModelRegistry, name: str, version: str, step: str) -> VariantRow:
    heads = HeadStore(registry.root.parent)
    head = heads.load(name, version)
    files = [heads.root / name / version / file for file in (HEAD_FILE, *head.files)]
    if head.served != STATIC_TIER:
        files += files_of(registry.load(head.base))
    return VariantRow(name, version, step, sum(path.stat().st_size for path in files))


def _variant_row(manifest: Manifest, step: str) -> VariantRow:
    return VariantRow(
        name=manifest.name,
        version=manifest.version,
        step=step,
        size_bytes=sum(path.stat().st_size for path in files_of(manifest)),
        agreement=manifest.agreement.label if manifest.agreement else None,
    )
