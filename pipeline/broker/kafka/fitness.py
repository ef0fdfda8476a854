"""What a topic must be like, and what is wrong with the topics that are found."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.errors import NoError, for_code

RELIED_ON: Final = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}
"""Set for the topics that are created here: the brokers' defaults may differ."""

KEPT_BY_KEY: Final = {"cleanup.policy": "compact,delete", "segment.ms": "600000"}
"""For a compacted topic. Kafka compacts closed segments only: a small topic would wait a week for that."""

COMPACTED: Final = (
    "is compacted: Kafka deletes unread requests if a later one has the same key, and "
    "refuses records without a key. Set its cleanup.policy to delete."
)
TIMED: Final = (
    "keeps the times of the producers: Kafka deletes unread requests if their time is old or "
    "in seconds. Set its message.timestamp.type to LogAppendTime."
)
CLOSED: Final = (
    "has fewer replicas than its min.insync.replicas: before version 4.1, Kafka takes no record for it. Lower "
    "this setting, or add replicas."
)

ASKED_FOR: Final = (*RELIED_ON, "min.insync.replicas")


def configs_of(responses: Iterable[Any]) -> dict[str, dict[str, str]]:
    """The settings of each topic that may be described, from responses to DescribeConfigs."""
    found = {}
    for response in responses:
        for code, _, _, topic, entries in response.resources:
            if for_code(code) is NoError:
                found[topic] = {entry[0]: entry[1] for entry in entries if entry[0] in ASKED_FOR}
    return found


def unfit(configs: Mapping[str, Mapping[str, str]], replicas: Mapping[str, int]) -> list[str]:
    """A sentence for each fault, with the topics that have it."""
    compacted = [topic for topic, config in configs.items() if "compact" in config.get("cleanup.policy", "")]
    timed = [
        topic for topic, config in configs.items() if config.get("message.timestamp.type") == "CreateTime"
    ]
    closed = [
        topic
        for topic, config in configs.items()
        if int(config.get("min.insync.replicas", "1")) > replicas.get(topic, 1 << 15)
    ]
    sentences = [(compacted, COMPACTED), (timed, TIMED), (closed, CLOSED)]
    return [f"Topic {', '.join(sorted(topics))} {fault}" for topics, fault in sentences if topics]
