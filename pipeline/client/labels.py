"""Tells the workers the right answer to a request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import structs

from ...schemas.topics import Header, Topics
from ..broker.base import Broker, Message
from ..errors import NotUtf8, Timeout, WrongType
from .call import Call
from .envelope import content_hash
from .keywords import Content


def label_message(topics: Topics, call: Call, content: Content, label: Mapping[str, Any]) -> Message:
    """The record on the topic of labels. Raises NotUtf8 or WrongType for what JSON cannot hold."""
    request = structs.replace(call.request(content, "", str), id=None)
    tenant = call.envelope.tenant
    try:
        body = msgspec.json.encode({**msgspec.to_builtins(request), "label": dict(label)})
        headers = ((Header.TENANT, tenant.encode()),) if tenant else ()
        return Message(topics.labels, body, content_hash(request, None), headers)
    except UnicodeEncodeError as error:
        raise NotUtf8("The label holds half of a surrogate pair: send text that UTF-8 can hold.") from error
    except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise WrongType(f"The label is not JSON ({error}): use strings, numbers, lists and dicts.") from error


async def send_label(
    broker: Broker, message: Message, check_topics: Callable[..., Awaitable[None]], call: Call
) -> None:
    """Return when the broker has it."""
    timeout_s = call.envelope.timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            await check_topics(call.task, message.topic)
            await broker.publish(message)
    except TimeoutError as error:
        raise Timeout(f"The broker did not answer within {timeout_s:g} s: is it reachable?") from error
