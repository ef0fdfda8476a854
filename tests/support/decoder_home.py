"""A home folder with a decoder of a few kilobytes, whose weights are random: it generates any characters at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.decoders.pulling import import_gguf
from support.tiny_llama import tiny_tensors, write_tiny_gguf

TINY = "tiny-fp32"
CHAT = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('There are no tools.') }}{% endif %}"
    "<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


def with_decoder(folder: Path, seed: int = 3, chat: str | None = CHAT) -> Manifest:
    """Import it as `tiny` into the registry of this process; takes a second. ``folder`` is for its file."""
    path = folder / "tiny.gguf"
    write_tiny_gguf(path, tiny_tensors(seed), kind="F32", **{"tokenizer.chat_template": chat})
    manifests = import_gguf(ModelRegistry(), path, lambda *_: None, "tiny")
    return next(one for one in manifests if one.name == TINY)


@contextmanager
def home_with_decoder(folder: Path) -> Iterator[None]:
    """A home of its own in ``folder``, which has the decoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(folder / "home"))
        with_decoder(folder)
        yield
