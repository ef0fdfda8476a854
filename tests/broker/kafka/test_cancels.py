"""The reader of cancels on a real Kafka."""

import pytest
from support.broker_contract import Connect
from support.cancel_reader_contract import CancelReaderContract

from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig

pytestmark = pytest.mark.kafka


class TestCancelReaderOnKafka(CancelReaderContract):
    @pytest.fixture
    def connect(self, kafka: str) -> Connect:
        return lambda: KafkaBroker(KafkaConfig(bootstrap=kafka, heartbeat_ms=100))
