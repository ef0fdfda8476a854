"""Builds the variants of one decoder, and measures them against float32, alone and beside other rows."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ....graphs.llama.decoder import KIND, NUMBERS, LlamaDecoder
from ....graphs.llama.linears import has_four_bits
from ....graphs.tensor_file import TensorFile
from ....models.catalogue import PinnedFile
from ....models.files import publish, sha256_of
from ....models.manifest import Manifest
from ....models.progress import Progress
from ...closeness.built_gate import gated
from ...closeness.fidelity import fidelity, sample_texts, steadiness
from ..pulled_files import publish_graph_with_data
from .files import TOKENIZER, DecoderFiles

BUILDER_VERSION = 3  # raised whenever the same files give another graph; a pull then rebuilds the variants
CHAT = "chat.json"


class DecoderPlan(Struct, frozen=True):
    """Everything that decides which variants are built."""

    base: str
    revision: str
    files: tuple[PinnedFile, ...]
    fp16: bool = False
    """Whether the variant for a GPU is asked for."""

    @property
    def digest(self) -> str:
        """The digest of the file, or of the digests of all files."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = sorted(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def has_tokenizer(self) -> bool:
        """Whether the tokenizer is one of the files, and not inside of another one."""
        return any(file.name == TOKENIZER for file in self.files)


class DecoderVariants:
    """Builds and measures the variants of one model."""

    def __init__(
        self, home: Path, plan: DecoderPlan, source: str, files: DecoderFiles, progress: Progress
    ) -> None:
        self._home = home
        self._plan = plan
        self._source = source
        self._files = files
        self._progress = progress

    def all(self, known: Sequence[Manifest] = ()) -> list[Manifest]:
        """The manifests: fp32 first. Those that are ``known`` are kept, and the others built and measured."""
        config = self._files.model.config
        texts = sample_texts(lambda text: self._files.tokenizer.encode(text).ids, config.context)
        found = {manifest.precision: manifest for manifest in known}
        for precision in self._precisions():
            if precision not in found:
                found[precision] = self._measured(self._built(precision), found.get("fp32"), texts)
        return [found[precision] for precision in self._precisions()]

    def _precisions(self) -> list[str]:
        found = ["fp32", "fp16", "int8", "int4"]
        if not self._plan.fp16:
            found.remove("fp16")
        if not has_four_bits(self._files.model):
            found.remove("int4")
        return found

    def _measured(
        self, variant: Manifest, original: Manifest | None, texts: Sequence[Sequence[int]]
    ) -> Manifest:
        """The manifest with what is measured of it, against the ``original`` if it is another one."""
        path = Path(variant.graph_path)
        found = None
        if original is not None:
            self._progress(f"measuring {variant.name} against fp32", 0, None)
            found = fidelity(Path(original.graph_path), path, texts)
        self._progress(f"measuring {variant.name} alone and beside others", 0, None)
        measured = msgspec.structs.replace(variant, fidelity=found, steadiness=steadiness(path, texts))
        return measured if original is None else gated(measured, original.name)

    def _built(self, precision: str) -> Manifest:
        plan = self._plan
        name = f"{plan.base}-{precision}"
        self._progress(f"building {name}", 0, None)
        tensors = TensorFile(self._home / f"{precision}.{os.getpid()}.data.part")
        decoder = LlamaDecoder(self._files.model, precision, tensors)
        decoder.add_all()
        published = publish_graph_with_data(tensors, decoder.model, self._home, precision)
        tokenizer = self._home / TOKENIZER
        if not plan.has_tokenizer:
            self._written(TOKENIZER, lambda path: self._files.tokenizer.save(str(path)))
        chat = self._written(CHAT, lambda path: path.write_bytes(msgspec.json.encode(self._files.chat)))
        config = self._files.model.config
        return Manifest(
            name=name,
            kind=KIND,
            precision=precision,
            source=self._source,
            revision=plan.revision,
            weights_sha256=plan.digest,
            graph_sha256=published.graph_sha256,
            graph_path=str(published.graph_path),
            data_sha256=published.data_sha256,
            data_path=str(published.data_path),
            tokenizer_sha256=sha256_of(tokenizer),
            max_tokens=config.context,
            dimensions=config.width,
            pad_id=0,
            builder=BUILDER_VERSION,
            family=config.family,
            device=NUMBERS[precision].device,
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
