"""The real model minilm, pulled once into the cache folder of the user."""

from dataclasses import dataclass

import pytest

from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class MiniLM:
    """The model minilm-int8 and its parts."""

    registry: ModelRegistry
    manifest: Manifest
    tokenizer: Tokenizer
    session: Session


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    """The real minilm-int8; pulls it if it is not in the cache folder."""
    registry = ModelRegistry()
    pull(registry, "minilm", lambda step, done, total: None)
    manifest = registry.load("minilm-int8")
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    return MiniLM(registry, manifest, tokenizer, Session(manifest.graph_path))
