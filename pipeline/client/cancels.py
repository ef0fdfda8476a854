"""Tells the workers of requests that are not wanted any more."""

import asyncio
import logging
from collections.abc import Callable

from ...schemas.cancels import Cancel, Reason
from ...schemas.codec import encode
from ...schemas.topics import Header
from ..broker.base import Headers, Message
from ..errors import InferstreamError, NotUtf8

log = logging.getLogger(__name__)

Published = asyncio.Future[None]
NAMING = (Header.TENANT, Header.TRACEPARENT)
"""Headers of a request that its cancel repeats: with them it ends this request and no other of its id."""


def cancel_message(topic: str, request_id: str, headers: Headers, reason: Reason = "cancelled") -> Message:
    """The record that cancels a request with these headers. The key keeps the cancels of one request in order."""
    naming = tuple(header for header in headers if header[0] in NAMING)
    return Message(topic, encode(Cancel(request_id, reason)), request_id.encode(errors="replace"), naming)


def cancel_by_name(topic: str, request_id: str, tenant: str | None, reason: Reason) -> Message:
    """The record that cancels any request with this id and tenant. Raises NotUtf8."""
    try:
        headers = ((Header.TENANT, tenant.encode()),) if tenant else ()
        return cancel_message(topic, request_id, headers, reason)
    except UnicodeEncodeError as error:
        raise NotUtf8(
            "The id or the tenant holds half of a surrogate pair: give those of the request."
        ) from error


class CancelSender:
    """Sends the cancels of requests whose reply nothing waits for any more. Lives on its client's event loop."""

    def __init__(self, publish: Callable[[Message], Published]) -> None:
        self._publish = publish
        self._was_refused = False

    def send_after(self, published: Published, cancel: Message) -> None:
        """Send the cancel when its request was published. An error is logged once: the request runs to its end."""
        if published.done():
            self._send(published, cancel)
        else:
            published.add_done_callback(lambda _: self._send(published, cancel))

    def _send(self, published: Published, cancel: Message) -> None:
        if published.cancelled() or published.exception() is not None:
            return  # there is no request
        try:
            self._publish(cancel).add_done_callback(self._sent)
        except InferstreamError as error:
            self._tell(error)

    def _sent(self, done: Published) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        if not self._was_refused:
            self._was_refused = True
            log.warning(
                "Requests that are not wanted any more run to their end, since no cancel is taken: %s", error
            )
