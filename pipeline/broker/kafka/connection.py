"""The settings of every aiokafka client, and what its errors mean for an operator."""

from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaConnectionError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataRequest

from ...config import KafkaConfig
from ...errors import BrokerError
from .security import password_of, ssl_context

METADATA_MAX_AGE_MS: Final = 30_000
"""The time until added partitions are used; aiokafka's default is 5 minutes."""
REFUSED = (InvalidTimestampError, InvalidTopicError, PolicyViolationError, UnknownError)
"""Of one record: aiokafka knows no error for a record without a key on a compacted topic (87)."""
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


def connection_arguments(config: KafkaConfig) -> dict[str, Any]:
    """The arguments for producer, consumer and admin client. Raises UsageError for a file that cannot be used."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap,
        "client_id": "inferstream",
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "connections_max_idle_ms": config.max_idle_ms,
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


def never_creating(client: Any) -> None:
    """Let aiokafka's client ask for topics without creating them, where brokers do that."""
    request = partial(MetadataRequest, allow_auto_topic_creation=False)
    asking = with_parts(client._metadata_update, {"MetadataRequest": request})
    client._metadata_update = MethodType(asking, client)


def with_parts(method: Any, parts: dict[str, Any]) -> FunctionType:
    """The function of a method of aiokafka, with other values of the global names in ``parts``.

    So other users of aiokafka in this process keep theirs. Raises LookupError for an unused name.
    """
    function = method.__func__
    missing = parts.keys() - set(function.__code__.co_names)
    if missing:
        raise LookupError(f"{function.__qualname__} of this version of aiokafka does not use {missing}.")
    names = {**function.__globals__, **parts}
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


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
