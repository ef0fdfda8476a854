"""Clients for the tests of programs that use inferstream: no model, no broker, no worker."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..errors import UsageError
from .arguments import check
from .client import Client
from .fake_broker import FakeBroker
from .likeness import like, made_like
from .sent_request import SentRequest
from .sync_client import SyncClient


class FakeClient(Client):
    """A `Client` that answers itself. All code of the client runs: checks, typing of answers, timeouts, errors.

    Args:
        answers: for each task what its requests get: an output, e.g. a TriageOutput; an InferstreamError or its
            class, or a Failure; Streamed pieces; or a function of the SentRequest, also an asynchronous one,
            that returns or raises one of these. Any other exception of the function is raised by the request.

    Attributes:
        requests: all requests that were sent, in order, as SentRequest.
        cancelled: the ids of those that were cancelled.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        if not isinstance(answers, Mapping):
            raise UsageError("`answers` must be a dict by names of tasks, as in {'triage': TriageOutput(…)}.")
        for task in answers:
            check(task=task)
        self._fake = FakeBroker(answers, self._broken)
        # At 0 a deadline is the timeout.
        super().__init__(broker=self._fake, clock=lambda: 0.0)

    async def __aexit__(self, *exc_info: object) -> None:
        await self._fake.__aexit__()
        await super().__aexit__(*exc_info)

    @property
    def requests(self) -> list[SentRequest]:
        return self._fake.requests

    @property
    def cancelled(self) -> list[str]:
        return self._fake.cancelled

    def set_answer(self, task: str, answer: Any) -> None:
        """Answer later requests of the task so."""
        check(task=task)
        self._fake.answers[task] = answer

    def hold(self) -> None:
        """Hold the answers until `release`; with a ``timeout_s`` a request then ends with Timeout.

        Of a stream each piece is held, and the end.
        """
        self._fake.gate.hold()

    def release(self, count: int | None = None) -> None:
        """Send ``count`` answers or pieces, the oldest first, also those to come. Default: all."""
        self._fake.gate.release(count)

    async def wait_for_requests(self, count: int) -> list[SentRequest]:
        """Wait until that many requests were sent, and return all."""
        await self._fake.gate.wait_for(count)
        return self.requests

    def _broken(self, task: str, request_id: str, error: Exception) -> None:
        self._replies[task].fail(request_id, error)


class FakeSyncClient(SyncClient):
    """The `FakeClient` for programs that use a SyncClient. Functions that answer run in the client's own thread."""

    client_class: ClassVar[type[Client]] = FakeClient
    _client: FakeClient

    @made_like(FakeClient.__init__)
    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)

    @property
    def requests(self) -> list[SentRequest]:
        return self._client.requests

    @property
    def cancelled(self) -> list[str]:
        return self._client.cancelled

    @like(FakeClient.set_answer)
    def set_answer(self, task: str, answer: Any) -> None:
        self._client.set_answer(task, answer)

    @like(FakeClient.hold)
    def hold(self) -> None:
        self._opened().run(_called(self._client.hold))

    @like(FakeClient.release)
    def release(self, count: int | None = None) -> None:
        self._opened().run(_called(self._client.release, count))

    @like(FakeClient.wait_for_requests)
    def wait_for_requests(self, count: int) -> list[SentRequest]:
        return self._opened().run(self._client.wait_for_requests(count))


async def _called(function: Callable[..., None], *args: object) -> None:
    """The event loop's own thread calls the function."""
    function(*args)
