"""Where a judgement on a variant is kept, and which model is its original."""

from pathlib import Path

from msgspec.structs import replace

from ...errors import ModelError
from ...models.manifest import Manifest, read_manifest, write_manifest
from ...models.metrics import Judgement
from ...models.progress import Progress as LockProgress
from ...models.registry import ModelRegistry, split_name
from ..triage.report import Progress


def original_name(manifest: Manifest) -> str:
    """What the variant was made of, or the float32 variant of its model."""
    return manifest.lineage.original if manifest.lineage else f"{split_name(manifest.name)[0]}-fp32"


def keep_judgement(
    registry: ModelRegistry, measured: Manifest, judgement: Judgement, progress: Progress
) -> Judgement:
    """Write it into the manifest of the variant that was measured. Raises ModelError if there is another one now."""
    use = judgement.evaluation.use
    with registry.lock(split_name(measured.name)[0], _of_lock(progress)):
        manifest = read_manifest(path_of(registry, measured))
        if manifest.version != judgement.evaluation.version:
            raise ModelError(f"{measured.name} was built anew while it was measured: run the command again.")
        judgements = manifest.judgements | {use: judgement}
        write_manifest(replace(manifest, judgements=judgements), path_of(registry, measured))
        return read_manifest(path_of(registry, measured)).judgements[use]


def path_of(registry: ModelRegistry, manifest: Manifest) -> Path:
    """Of its file."""
    return registry.manifest_path(split_name(manifest.name)[0], manifest.precision)


def _of_lock(progress: Progress) -> LockProgress:
    return lambda step, done, total: progress(step, done, total or 1)
