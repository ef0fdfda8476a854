"""Builds the variants of one decoder, and measures them against float32, alone and beside other rows."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ..graphs.llama.decoder import KIND, LlamaDecoder
from ..graphs.llama.linears import has_four_bits
from ..graphs.tensor_file import TensorFile
from ..models.catalogue import PinnedFile
from ..models.files import publish, sha256_of
from ..models.manifest import Manifest, Steadiness
from ..models.progress import Progress
from .decoder_files import TOKENIZER, DecoderFiles
from .fidelity import fidelity, sample_texts, steadiness
from .pulled_files import publish_graph_with_data

RECIPE = 2  # raised whenever the same files give another graph; a pull then rebuilds the variants
CHAT = "chat.json"


class DecoderPlan(Struct, frozen=True):
    """Everything that decides which variants are built."""

    base: str
    revision: str
    files: tuple[PinnedFile, ...]

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
        self._progress(f"measuring {manifest.name} alone and beside others", 0, None)
        return steadiness(Path(manifest.graph_path), texts)

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
