"""One variant of an encoder that is on this machine, in other numbers than float32."""

from pathlib import Path

from ..errors import ModelError
from ..models.catalogue import PinnedFile
from ..models.files import sha256_of
from ..models.manifest import ENCODER, Manifest, write_manifest
from ..models.progress import Progress
from ..models.registry import ModelRegistry, split_name
from .plans import FILES, WEIGHTS, PullPlan
from .pulled_files import completed
from .variants import MIN_LABEL_AGREEMENT, RECIPE, VariantBuilder


def quantize_encoder(
    registry: ModelRegistry, original: Manifest, method: str, progress: Progress
) -> Manifest:
    """Make the variant of ``original``, a float32 encoder, unless it is here. Raises ModelError."""
    base, _ = split_name(original.name)
    path = registry.manifest_path(base, method)

    def made() -> list[Manifest]:
        found = [one for one in registry.list() if one.name == f"{base}-{method}" and one.recipe == RECIPE]
        if found and found[0].weights_sha256 == original.weights_sha256:
            registry.verify(found[0])
            return found
        home = registry.folder(base)
        if not (home / WEIGHTS).is_file() or sha256_of(home / WEIGHTS) != original.weights_sha256:
            raise ModelError(
                f"The weights in {home} are not those of {original.name}: make or pull that model again."
            )
        manifest = VariantBuilder(home, _plan(base, original, home), progress).int8(original)
        if manifest.agreement and manifest.agreement.label < MIN_LABEL_AGREEMENT:
            raise ModelError(
                f"{manifest.name} gives only {manifest.agreement.label:.1%} of the sample sentences the label that "
                f"float32 gives; use {original.name}."
            )
        write_manifest(manifest, path)
        return [manifest]

    return completed(registry, base, ENCODER, progress, made)[0]


def _plan(base: str, original: Manifest, home: Path) -> PullPlan:
    """The plan of which the files in ``home`` were pulled."""
    return PullPlan(
        base,
        original.kind,
        original.revision,
        [PinnedFile.of(home / name) for name in FILES],
        original.max_tokens,
        "cls" if original.pooling == "cls" else "mean",
        original.notes,
    )
