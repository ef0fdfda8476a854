"""What a release of a triage model is made of."""

from pathlib import Path

from msgspec.structs import replace

from ...models.judgements import read_judgement
from ...models.metrics import FITTED, ZERO_SHOT
from ...models.registry import ModelRegistry
from ...models.releases.parts import ReleaseParts, parts_of_variant, path_of_setting
from ...models.releases.release import Origin
from .fit_record import NOT_RELEASED, FitRecord, read_fit
from .head import STATIC_TIER, HeadStore
from .loading import taxonomy_file
from .settings import TriageSettings
from .taxonomy import load_taxonomy


def triage_parts(registry: ModelRegistry, name: str, settings: TriageSettings) -> ReleaseParts:
    """The files of an encoder or of a fitted model with what it needs of one, and the taxonomy of the settings.

    Raises UnknownModel, ModelError, UsageError.
    """
    heads = HeadStore(registry.root.parent)
    fitted = heads.has(name)
    parts = (
        _fitted(registry, name, heads)
        if fitted
        else parts_of_variant(registry, registry.load(name), ZERO_SHOT)
    )
    taxonomy = taxonomy_file(registry, settings)
    if taxonomy is None:
        return parts
    labels = parts.labels or tuple(load_taxonomy(taxonomy).categories)
    files = {**parts.files, path_of_setting("triage", "taxonomy", taxonomy): taxonomy}
    return parts._replace(files=files, labels=labels)


def _fitted(registry: ModelRegistry, name: str, heads: HeadStore) -> ReleaseParts:
    head = heads.load(name)
    home = registry.root.parent
    folder = heads.root / name / head.version
    paths = [heads.root / name / "current", *_files_in(folder)]
    steps = (f"fit on {head.measured.train_rows} rows", f"served by {head.served}")
    judgement = read_judgement(folder)
    if judgement and judgement.evaluation.version != head.version:  # copied from another version
        judgement = None
    fit = read_fit(folder)
    parts = ReleaseParts(
        name=name,
        files={path.relative_to(home).as_posix(): path for path in paths},
        origin=_made(Origin(f"a static tier of {head.base}", steps=steps), fit),
        labels=head.labels,
        gate=judgement.gate if judgement else None,
        metrics=judgement.evaluation if judgement else None,
        versions={name: head.version},
    )
    if head.served == STATIC_TIER:
        return parts
    encoder = parts_of_variant(registry, registry.load(head.base), FITTED)
    return parts._replace(
        files={**encoder.files, **parts.files},
        origin=_made(replace(encoder.origin, steps=(*encoder.origin.steps, *steps)), fit),
        versions={**encoder.versions, **parts.versions},
    )


def _made(origin: Origin, fit: FitRecord | None) -> Origin:
    """The origin with what is known of the fit."""
    if fit is None:
        return origin
    return replace(
        origin,
        data=origin.data | {"fit": fit.rows_sha256},
        made_on=fit.made_on,
        made_with=fit.made_with,
        made_at=fit.made_at,
    )


def _files_in(folder: Path) -> list[Path]:
    """All files of the version, without what only a fit and an evaluation read."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix != ".part" and not path.name.startswith(".") and path.name not in NOT_RELEASED
    ]
