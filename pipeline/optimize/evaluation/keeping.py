"""Where a judgement on a variant is kept, and which model is its original."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from ...errors import ModelError
from ...models.manifest import Manifest, read_manifest, write_manifest
from ...models.metrics import Judgement, MachineSpeed
from ...models.registry import ModelRegistry, split_name
from ..triage.report import Progress


def original_name(manifest: Manifest) -> str:
    """What the variant was made of, or the float32 variant of its model."""
    return manifest.lineage.original if manifest.lineage else f"{split_name(manifest.name)[0]}-fp32"


def keep_judgement(
    registry: ModelRegistry,
    measured: Manifest,
    judgement: Judgement,
    progress: Progress,
    *,
    force: bool = False,
) -> Judgement:
    """Write it into the manifest of the variant that was measured. Raises ModelError if there is another one now.

    ``force``: open the gate of its making too.
    """
    use = judgement.evaluation.use
    with _locked(registry, measured, progress) as path:
        manifest = read_manifest(path)
        if manifest.version != judgement.evaluation.version:
            raise ModelError(f"{measured.name} was built anew while it was measured: run the command again.")
        gate = manifest.gate
        if gate and not gate.open and (force or judgement.gate.forced):
            gate = replace(gate, forced=True)
        judgements = manifest.judgements | {use: judgement}
        write_manifest(replace(manifest, gate=gate, judgements=judgements), path)
        return read_manifest(path).judgements[use]


def keep_speed(registry: ModelRegistry, measured: Manifest, speed: MachineSpeed, progress: Progress) -> None:
    """Write it into the manifest of the variant that was measured, if that is still the one there."""
    with _locked(registry, measured, progress) as path:
        manifest = read_manifest(path)
        if manifest.version == measured.version:
            write_manifest(replace(manifest, speeds=(speed,)), path)


@contextmanager
def _locked(registry: ModelRegistry, manifest: Manifest, progress: Progress) -> Iterator[Path]:
    """The path of the manifest, while no pull changes it. Raises ModelError if it cannot be written."""
    base, _ = split_name(manifest.name)
    try:
        with registry.lock(base, lambda step, done, total: progress(step, done, total or 1)):
            yield registry.manifest_path(base, manifest.precision)
    except OSError as error:
        raise ModelError(
            f"The figures of {manifest.name} cannot be kept below {registry.root}: {error.strerror or error}."
        ) from error
