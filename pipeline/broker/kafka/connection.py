"""The settings of every aiokafka client, and what its errors mean for an operator."""

from typing import Any, Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from ...config import KafkaConfig
from ...errors import BrokerError
from .security import password_of, ssl_context

METADATA_MAX_AGE_MS: Final = 30_000
"""The time until added partitions are used; aiokafka's default is 5 minutes."""
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


def connection_arguments(config: KafkaConfig) -> dict[str, Any]:
    """The arguments for producer, consumer and admin client. Raises UsageError for a file that cannot be used."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap,
        "client_id": "inferstream",
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "security_protocol": config.security_protocol,
    }
    if config.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = ssl_context(config)
    if config.security_protocol.startswith("SASL_"):
        arguments |= {
            "sasl_mechanism": config.sasl_mechanism,
            "sasl_plain_username": config.username,
            "sasl_plain_password": password_of(config),
        }
    return arguments


def broker_error(error: BaseException, config: KafkaConfig, doing: str) -> BrokerError:
    """The error to raise if ``doing`` (for example "read topics") failed: one sentence, with a remedy."""
    user = config.username or "this client"
    match error:
        case BrokerError():
            return error
        case KafkaConnectionError():
            sentence = (
                f"Cannot reach Kafka to {doing}: no broker listens at {config.bootstrap}, or its security "
                f"protocol is not {config.security_protocol}, or the user name or password is wrong."
            )
        case ClusterAuthorizationFailedError():
            sentence = f"Kafka does not let {user} {doing}: grant it Write on its topics."
        case TopicAuthorizationFailedError():
            sentence = (
                f"Kafka does not let {user} {doing}: "
                f"grant it Describe, and Read or Write, on {_names(error)}."
            )
        case GroupAuthorizationFailedError():
            sentence = (
                f"Kafka does not let {user} {doing}: grant it Read on the consumer group {_names(error)}."
            )
        case NotLeaderForPartitionError() | LeaderNotAvailableError() | UnknownTopicOrPartitionError():
            sentence = (
                f"Kafka at {config.bootstrap} could not {doing} for 40 s, because a partition has no leader: "
                "check that all of its brokers are up and that the topic still exists."
            )
        case _:
            sentence = f"Kafka at {config.bootstrap} failed to {doing}: {_cause(error)}."
    return BrokerError(sentence)


def _names(error: BaseException) -> str:
    """The topics or the group that an authorization error names."""
    first = error.args[0] if error.args else "it"
    return ", ".join(sorted(first)) if isinstance(first, set | frozenset | list | tuple) else str(first)


def _cause(error: BaseException) -> str:
    """Name and text of Kafka's error, for example "OutOfOrderSequenceNumber: ..."."""
    text = str(error).rstrip(".")
    name = type(error).__name__
    return text if name in text else f"{name} {text}".rstrip()
