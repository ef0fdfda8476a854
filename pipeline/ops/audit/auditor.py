"""The audit: read the topics to their ends into a work file, then check each request."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from ...broker.base import Broker, TopicPartition
from ...errors import UsageError
from ..scan import Scan
from .case import Case
from .facts import Audited
from .judge import Judge
from .order import out_of_order
from .report import AuditReport
from .work_file import AuditRow, WorkFile


async def audit(
    broker: Broker,
    audited: Audited,
    *,
    work: Path | None = None,
    starts: Mapping[TopicPartition, int] | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    grace_ms: int = 0,
    clock: Callable[[], float],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AuditReport:
    """The report on the requests sent from ``since_ms`` on and before ``until_ms`` (Unix time).

    Memory does not grow with the topics. With a ``work`` file, an interrupted audit continues where
    it was, and a finished one reads only new records. ``starts`` are the first offsets to read of
    partitions that the work file does not have; the oldest by default. ``clock`` is the Unix time
    in seconds; ``progress`` is called with offsets.

    Raises BrokerError; UsageError for a missing topic, or a work file of another audit.
    """
    with WorkFile(work, f"{audited.topics.prefix}.{audited.topics.task}") as file:
        await _require(broker, audited)
        now_ms = round(clock() * 1e3)
        async with Scan.open(broker, audited.names, {**(starts or {}), **file.positions()}) as scan:
            progress(0, scan.total)
            deleted = scan.deleted(audited.topics.requests)
            async for records in scan.batches():
                file.store(records, audited)
                progress(scan.done, scan.total)
        file.settle()
        judge = Judge(
            since_ms,
            until_ms,
            now_ms=now_ms,
            grace_ms=grace_ms,
            read=audited.replies,
            steps=audited.steps,
        )
        for case in _cases(file.rows(), judge):
            judge.case(case)
        for reply in out_of_order(file.ordered_replies()):
            judge.out_of_order(reply)
        judge.report.deleted = deleted
        return judge.report


async def _require(broker: Broker, audited: Audited) -> None:
    if await broker.partitions(audited.topics.requests) is None:
        raise UsageError(
            f"There is no topic {audited.topics.requests}: check the name of the task and --topic-prefix."
        )
    for topic in audited.more_replies:
        if await broker.partitions(topic) is None:
            raise UsageError(f"There is no reply topic {topic}: check its name.")


def _cases(rows: Iterable[AuditRow], judge: Judge) -> Iterator[Case]:
    for identity, of_one in groupby(rows, lambda row: row.identity):
        case = Case(identity)
        for row in of_one:
            if row.kind == "unreadable":
                judge.unreadable(row)
            else:
                case.add(row)
        yield case
