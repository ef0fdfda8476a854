"""Fixtures for tests of the engine."""

import pytest
from support.decoders import session_of
from support.tiny_llama import tiny_tensors, write_tiny_gguf

from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime.sessions import Session


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A decoder of a few kilobytes, in 4 bits."""
    folder = tmp_path_factory.mktemp("tiny-decoder")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), "int4", folder)
