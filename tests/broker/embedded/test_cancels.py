"""The reader of cancels on the embedded broker."""

from pathlib import Path

import pytest
from support.broker_contract import Connect
from support.cancel_reader_contract import CancelReaderContract

from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker


class TestCancelReaderOnEmbedded(CancelReaderContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: EmbeddedBroker(tmp_path)
