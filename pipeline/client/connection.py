"""The broker that a client opens."""

from pathlib import Path

from ..broker.base import Broker
from ..config import KafkaConfig
from ..errors import BrokerError


def connection(config: KafkaConfig, embedded: Path | str | None) -> tuple[Broker, str]:
    """The broker, and the option of `inferstream worker` that selects it."""
    if embedded is not None:
        from ..broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(Path(embedded)), f" --embedded {embedded}"
    from ..broker.kafka.broker import KafkaBroker

    return KafkaBroker(config), f" --kafka {config.bootstrap}"


async def check_topics(broker: Broker, option: str, task: str, *topics: str) -> None:
    """Raise BrokerError for a topic that is not there. ``option``: of `inferstream worker`, from `connection`."""
    for topic in topics:
        if await broker.partitions(topic) is None:
            command = f"inferstream worker {task}{option}"
            raise BrokerError(f"There is no topic {topic}: start a worker, which makes it: `{command}`.")
