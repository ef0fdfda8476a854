"""A home folder with a decoder of a few kilobytes."""

from collections.abc import Iterator

import pytest
from support.decoder_home import with_decoder

from inferstream.pipeline.models.manifest import Manifest


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manifest]:
    folder = tmp_path_factory.mktemp("decoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(folder / "home"))
        yield with_decoder(folder)
