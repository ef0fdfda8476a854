"""Requests of Kafka's protocol that aiokafka does not have in the version that is needed here."""

from typing import Any

from aiokafka.protocol.admin import (
    CreateTopicsRequest_v1,
    CreateTopicsRequest_v2,
    CreateTopicsRequest_v3,
    CreateTopicsResponse_v3,
)
from aiokafka.protocol.api import Request, RequestStruct, Response


class CreatedTopicsV4(Response):  # type: ignore[misc]
    API_KEY = 19
    API_VERSION = 4
    SCHEMA = CreateTopicsResponse_v3.SCHEMA


class CreateTopicsV4(RequestStruct):  # type: ignore[misc]
    """The first version in which the brokers choose the replication (-1); its fields are those of version 3."""

    API_KEY = 19
    API_VERSION = 4
    RESPONSE_TYPE = CreatedTopicsV4
    SCHEMA = CreateTopicsRequest_v3.SCHEMA


class CreateTopics(
    Request[  # type: ignore[misc]
        CreateTopicsRequest_v1 | CreateTopicsRequest_v2 | CreateTopicsRequest_v3 | CreateTopicsV4
    ]
):
    API_KEY = 19

    def __init__(self, topics: list[tuple[Any, ...]], timeout_ms: int) -> None:
        self._topics = topics
        self._timeout_ms = timeout_ms

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(
            create_topic_requests=self._topics, timeout=self._timeout_ms, validate_only=False
        )
