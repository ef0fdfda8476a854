"""The requests of one stream, and the futures of their replies."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from msgspec import structs

from ....schemas.messages import Failure, Request, Result
from ....schemas.translation import TranslateOutput
from ...errors import InferstreamError
from ..call import Call
from ..replies import answer_of, error_of
from .segment import Revision

PARTIAL_S: Final = 2.0
"""A translation of a partial that takes longer is of no use: the next one has its words."""

Reply = asyncio.Future[Result | Failure]


class RequestSender(Protocol):
    """What a stream needs of its client."""

    def _send(self, call: Call, request: Request) -> Awaitable[Reply]: ...

    def _open_replies(self, call: Call) -> Awaitable[Any]: ...


class StreamRequests:
    """Sends the revisions of one stream. All have its name as their key, so that their replies come in order."""

    def __init__(self, name: str, call: Call, timeout_s: float, client: RequestSender) -> None:
        """``call`` has model, tenant, lease and options; ``timeout_s`` is that of a final, its retries included."""
        self.name = name
        self.timeout_s = timeout_s
        self._client = client
        self._call = call
        self._pending: set[Reply] = set()

    async def open(self) -> None:
        """Raises as `Client.request` does before a request is sent."""
        await self._client._open_replies(self._call)

    async def send(self, segment: int, revision: Revision, timeout_s: float | None = None) -> Reply:
        """The future of the reply. What cannot be sent is its error: nothing is raised."""
        if timeout_s is None:
            timeout_s = self.timeout_s if revision.final else PARTIAL_S
        priority = "high" if revision.final else "normal"
        envelope = structs.replace(self._call.envelope, timeout_s=timeout_s, priority=priority)
        call = structs.replace(self._call, envelope=envelope)
        try:
            reply = await self._client._send(call, self._request(segment, revision))
        except InferstreamError as error:
            reply = asyncio.get_running_loop().create_future()
            reply.set_exception(error)
            return reply
        self._pending.add(reply)
        reply.add_done_callback(self._pending.discard)
        return reply

    def close(self) -> None:
        """Cancel what was sent and is not answered."""
        for reply in list(self._pending):
            reply.cancel()

    def _request(self, segment: int, revision: Revision) -> Request:
        options = dict(self._call.options)
        if revision.prefix:
            options["prefix"] = revision.prefix
        earlier = revision.supersedes
        return Request(
            text=revision.text,
            id=self._id(segment, revision.number),
            options=options,
            final=revision.final,
            supersedes=None if earlier is None else self._id(segment, earlier),
        )

    def _id(self, segment: int, revision: int) -> str:
        return f"{self.name}/{segment}/{revision}"


def output_of_reply(reply: Reply) -> TranslateOutput:
    """The translation of a reply that has come. Raises its error."""
    if reply.cancelled():
        raise asyncio.CancelledError
    found = reply.result()
    if isinstance(found, Failure):
        raise error_of(found)
    output: TranslateOutput = answer_of(found).output
    return output
