"""The audit at the end of a chaos run."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import AuditReport
from .request_log import RequestLog

REPEAT_S: Final = 3.0


class Judgment(NamedTuple):
    """The auditor's counts: ``ends`` by kind, ``duplicated`` ends beyond one for each request.

    ``torn``: requests with a chunk or a piece that is missing, out of order, or otherwise than told before.
    ``resumed``: requests that a worker went on with behind the pieces of another; ``repeated_pieces`` were told again,
    ``outdated_chunks`` came from workers that were replaced, and do not count.
    ``late_cancels``: cancelled requests that ended otherwise; ``superseded``: those that a newer one has superseded.
    """

    requests: int
    ends: dict[str, int]
    lost: int
    duplicated: int
    out_of_order: int
    torn: int = 0
    chunks: int = 0
    cancelled: int = 0
    late_cancels: int = 0
    superseded: int = 0
    resumed: int = 0
    repeated_pieces: int = 0
    outdated_chunks: int = 0

    @property
    def clean(self) -> bool:
        """Whether no request is lost, no reply out of order, and no answer in pieces torn."""
        return not (self.lost or self.out_of_order or self.torn)


def auditor(task: str, config: Config, folder: Path, log: RequestLog) -> Callable[[], Awaitable[Judgment]]:
    """A function that audits the topics and writes ``audit.json`` into ``folder``.

    Reply topics that requests name may be gone by then: the log has what was read from them.
    """

    async def judge() -> Judgment:
        async with KafkaBroker(config.kafka) as broker:
            audited = Audited.of(task, config)
            report = await audit(broker, audited, work=folder / "audit.sqlite", clock=time.time)
        (folder / "audit.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        return judgment_of(report, log.unseen_by_audit)

    return judge


async def final_judgment(judge: Callable[[], Awaitable[Judgment]], timeout_s: float) -> Judgment:
    """Repeat the audit until nothing is lost, or for ``timeout_s``: a reply may be late."""
    end = time.monotonic() + timeout_s
    while True:
        judgment = await judge()
        if judgment.lost == 0 or time.monotonic() > end:
            return judgment
        await asyncio.sleep(REPEAT_S)


def judgment_of(report: AuditReport, unseen: int = 0) -> Judgment:
    """The counts of a report. At the end of a run, an open request is a lost one.

    ``unseen``: requests that may have ended on topics which the audit did not read.
    """
    return Judgment(
        requests=report.requests,
        ends={
            "results": report.results,
            "failures": report.failures.total(),
            "expired": report.expired,
            "dead_letters": report.dead_letters,
        },
        lost=report.unended - min(report.elsewhere, unseen),
        duplicated=report.duplicated,
        out_of_order=report.out_of_order,
        torn=report.torn,
        chunks=report.chunks,
        cancelled=report.cancelled,
        late_cancels=report.late_cancels,
        superseded=report.superseded,
        resumed=report.resumed,
        repeated_pieces=report.repeated_pieces,
        outdated_chunks=report.outdated_chunks,
    )
