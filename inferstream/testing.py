"""Clients for tests: no model, no broker, no worker; the checks, types and errors of the real ones.

    from inferstream import Overloaded, TriageOutput
    from inferstream.testing import FakeClient

    async with FakeClient({"triage": TriageOutput("billing", 0.9, "high", "team-a", needs_human=False)}) as client:
        await code_under_test(client)
        assert client.requests[0].text == "I was charged twice"
        client.set_answer("triage", Overloaded("Busy.", retry_after_ms=100))

`FakeSyncClient` is the same for programs that use a `SyncClient`. See docs/client.md.
"""

from .pipeline.client.fake_broker import Streamed
from .pipeline.client.fake_client import FakeClient, FakeSyncClient
from .pipeline.client.sent_request import SentRequest

__all__ = ["FakeClient", "FakeSyncClient", "SentRequest", "Streamed"]
