"""What a release of a triage model is made of."""

from pathlib import Path

from msgspec.structs import replace

from ...models.registry import ModelRegistry
from ...models.releases.parts import ReleaseParts, parts_of_variant, path_of_setting
from ...models.releases.release import Origin
from .head import STATIC_TIER, Head, HeadStore
from .loading import taxonomy_file
from .settings import TriageSettings
from .taxonomy import load_taxonomy


def triage_parts(registry: ModelRegistry, name: str, settings: TriageSettings) -> ReleaseParts:
    """The files of an encoder or of a fitted model with what it needs of one, and the taxonomy of the settings.

    Raises UnknownModel, ModelError, UsageError.
    """
    heads = HeadStore(registry.root.parent)
    fitted = heads.has(name)
    parts = _fitted(registry, name, heads) if fitted else parts_of_variant(registry, registry.load(name))
    taxonomy = taxonomy_file(registry, settings)
    if taxonomy is None:
        return parts
    labels = parts.labels or tuple(load_taxonomy(taxonomy).categories)
    files = {**parts.files, path_of_setting("triage", "taxonomy", taxonomy): taxonomy}
    return parts._replace(files=files, labels=labels)


def _fitted(registry: ModelRegistry, name: str, heads: HeadStore) -> ReleaseParts:
    head = heads.load(name)
    current = heads.root / name / "current"
    home = registry.root.parent
    files = {path.relative_to(home).as_posix(): path for path in [current, *_files_of(heads, name, head)]}
    steps = (f"fit on {head.measured.train_rows} rows", f"served by {head.served}")
    if head.served == STATIC_TIER:
        origin = Origin(f"a static tier of {head.base}", steps=steps)
        return ReleaseParts(name, files, origin, head.labels)
    encoder = parts_of_variant(registry, registry.load(head.base))
    return ReleaseParts(
        name=name,
        files={**encoder.files, **files},
        origin=replace(encoder.origin, steps=(*encoder.origin.steps, *steps)),
        labels=head.labels,
        gate=encoder.gate,
    )


def _files_of(heads: HeadStore, name: str, head: Head) -> list[Path]:
    """All files of the version."""
    paths = (heads.root / name / head.version).iterdir()
    return [path for path in sorted(paths) if path.suffix != ".part" and not path.name.startswith(".")]
