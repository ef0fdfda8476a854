"""What a release is made of, and the release that is made of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec.structs import replace

from ...errors import UsageError
from ..files import sha256_of
from ..manifest import Manifest
from ..metrics import FITTED, ZERO_SHOT, Evaluation, Gate
from ..progress import Progress
from ..registry import ModelRegistry, split_name
from .release import Origin, Release, StoredFile

UNMEASURED: Final = Gate({}, passed=False, failures=("It was not measured beside its original.",))
ONLY_FITTED: Final = Gate(
    {},
    passed=False,
    failures=("It was measured with heads that are fitted on its vectors, and here it answers without one.",),
)
COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


class ReleaseParts(NamedTuple):
    """A model as a task serves it, before it is a release.

    Attributes:
        name: what its task loads from the files.
        files: all that it needs, by their path below a home folder.
        origin: where it comes from.
        labels: that it may answer.
        gate: the judgement on it; None if it was not measured.
        metrics: what was measured.
        use: what the judgement is about, see `models/metrics`.
        versions: of the models that are in it, by their names.
    """

    name: str
    files: Mapping[str, Path]
    origin: Origin
    labels: tuple[str, ...] = ()
    gate: Gate | None = None
    metrics: Evaluation | None = None
    use: str = FITTED
    versions: Mapping[str, str] = MappingProxyType({})


def path_of_setting(task: str, setting: str, given: Path) -> str:
    """Where a release has the file that a setting of its task names; see `ModelRegistry.setting_file`."""
    kept = 2 if given.suffix == ".gz" else 1  # the reader knows a file by its suffix
    return f"settings/{task}/{setting}{''.join(given.suffixes[-kept:]) or '.txt'}"


def parts_of_variant(registry: ModelRegistry, manifest: Manifest, use: str = FITTED) -> ReleaseParts:
    """A variant of the registry. ``use``: what for, of the judgements on it."""
    paths = [registry.manifest_path(*_base_and_precision(manifest)), *map(Path, manifest.digests)]
    judgement = manifest.judgements.get(use)
    return ReleaseParts(
        name=manifest.name,
        files={path.relative_to(registry.root.parent).as_posix(): path for path in paths},
        origin=origin_of_variant(manifest),
        gate=gate_of_variant(manifest, use),
        metrics=judgement.evaluation if judgement else None,
        use=use,
        versions={manifest.name: manifest.version},
    )


def origin_of_variant(manifest: Manifest) -> Origin:
    """Where a variant comes from, as its manifest says."""
    revision = f" at {manifest.revision}" if COMMIT.fullmatch(manifest.revision) else ""
    made = manifest.lineage
    steps = [f"{made.step} {made.share:g} of {made.original} {made.original_version}"] if made else []
    if made and made.student:
        steps[0] += f", begun with {made.student}, {made.passes} passes"
    return Origin(
        source=f"{manifest.source}{revision}",
        steps=(*steps, f"{manifest.precision} by builder {manifest.builder}"),
        data={made.step: made.rows_sha256} if made else {},
    )


def gate_of_variant(manifest: Manifest, use: str) -> Gate | None:
    """The judgement on a variant: one that is closed, else that for this use, else that of its making.

    A float32 original is as good as itself. A smaller variant was judged with fitted heads when it was made, which says
    nothing of zero-shot answers: of minilm pruned by 60 %, 100.1 % of the accuracy with them, 94.8 % without.
    """
    judgement = manifest.judgements.get(use)
    known = [gate for gate in (manifest.gate, judgement.gate if judgement else None) if gate]
    if closed := next((gate for gate in known if not gate.open), None):
        return closed
    if use == ZERO_SHOT and manifest.lineage is not None:
        return judgement.gate if judgement else ONLY_FITTED
    if known:
        return known[-1]
    if manifest.precision == "fp32" and manifest.lineage is None:
        return Gate({}, passed=True)
    return None


def make_release(task: str, parts: ReleaseParts, progress: Progress) -> Release:
    """The release of the parts. Raises UsageError for a file that cannot be read."""
    files = {}
    progress(f"reading {parts.name}", 0, None)
    for path, place in sorted(parts.files.items()):
        try:
            files[path] = StoredFile(sha256_of(place), place.stat().st_size)
        except OSError as error:
            raise UsageError(f"Cannot read {place}: {error.strerror or error}.") from error
    return Release(
        task=task,
        name=parts.name,
        files=files,
        origin=_with_rows(parts.origin, parts.metrics),
        labels=parts.labels,
        metrics=parts.metrics,
        gate=parts.gate or UNMEASURED,
    )


def _with_rows(origin: Origin, metrics: Evaluation | None) -> Origin:
    return replace(origin, data=origin.data | {"judge": metrics.rows_sha256}) if metrics else origin


def _base_and_precision(manifest: Manifest) -> tuple[str, str]:
    base, precision = split_name(manifest.name)
    return base, precision or manifest.precision
