"""Tells the workers of requests that are not wanted any more."""

import asyncio
import logging
from collections.abc import Callable

from ...schemas.cancels import Cancel, Reason
from ...schemas.codec import encode
from ...schemas.messages import Failure, Result
from ...schemas.topics import Header
from ..broker.base import Headers, Message
from ..errors import InferstreamError, ShuttingDown, Timeout

log = logging.getLogger(__name__)

Reply = asyncio.Future[Result | Failure]
Published = asyncio.Future[None]
Publish = Callable[[Message], Published]
NAMING = (Header.TENANT, Header.TRACEPARENT)
"""Headers of a request that its cancel repeats: with them it ends this request and no other of its id."""


class CancelSender:
    """Cancels requests whose reply nothing waits for any more. Lives on the event loop of its client."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._pending: dict[tuple[str, str], Headers] = {}
        self._was_refused = False

    def watch(
        self, topic: str, request_id: str, headers: Headers, published: Published, reply: Reply
    ) -> None:
        """Cancel the request on ``topic`` if the future of its reply is cancelled or times out.

        The cancel is sent when the request was ``published``. A request with a lease is cancelled also if
        the client is closed.
        """
        self._pending[topic, request_id] = headers

        def ended(_: Reply) -> None:
            del self._pending[topic, request_id]
            if _is_unwanted(reply, headers):
                cancel = _cancel_message(topic, request_id, headers)
                if published.done():
                    self._after(published, cancel)
                else:
                    published.add_done_callback(lambda _: self._after(published, cancel))

        reply.add_done_callback(ended)

    async def cancel(self, topic: str, request_id: str, tenant: str | None, reason: Reason) -> None:
        """Cancel a request now, of this client or of another one. Raises BrokerError."""
        headers = self._pending.get((topic, request_id), ())
        if not headers and tenant:
            headers = ((Header.TENANT, tenant.encode()),)
        await self._publish(_cancel_message(topic, request_id, headers, reason))

    def _after(self, published: Published, cancel: Message) -> None:
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


def _cancel_message(topic: str, request_id: str, headers: Headers, reason: Reason = "cancelled") -> Message:
    """The record that cancels a request with these headers. The key keeps the cancels of one request in order."""
    naming = tuple(header for header in headers if header[0] in NAMING)
    return Message(topic, encode(Cancel(request_id, reason)), request_id.encode(errors="replace"), naming)


def _is_unwanted(reply: Reply, headers: Headers) -> bool:
    if reply.cancelled():
        return True
    error = reply.exception()
    if error is not None:
        return isinstance(error, ShuttingDown) and any(name == Header.LEASE for name, _ in headers)
    result = reply.result()
    return isinstance(result, Failure) and result.code == Timeout.code
