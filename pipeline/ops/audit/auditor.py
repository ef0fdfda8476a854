"""The audit: read the topics to their ends into a work file, then judge each request."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from ...broker.base import Broker
from ...errors import UsageError
from ..scan import Scan
from .case import Case
from .facts import Audited
from .judge import Judge
from .ledger import Ledger, Line
from .order import out_of_order
from .report import Report


async def audit(
    broker: Broker,
    audited: Audited,
    *,
    work: Path | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    grace_ms: int = 0,
    clock: Callable[[], float],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """What the topics say of the requests sent from ``since_ms`` on and before ``until_ms`` (Unix time).

    Memory does not grow with the topics. With a ``work`` file an interrupted audit goes on where it was, and one that
    was finished reads only what is new. ``clock`` is the Unix time in seconds; ``progress`` is told offsets.

    Raises BrokerError; UsageError for a topic that is not there, or a work file of something else.
    """
    with Ledger(work, f"{audited.topics.prefix}.{audited.topics.task}") as ledger:
        await _require(broker, audited)
        now_ms = round(clock() * 1e3)
        async with Scan.open(broker, audited.names, ledger.positions()) as scan:
            progress(0, scan.total)
            async for records in scan.batches():
                ledger.note(records, audited)
                progress(scan.done, scan.total)
        ledger.settle()
        judge = Judge(since_ms, until_ms, now_ms=now_ms, grace_ms=grace_ms, read=audited.replies)
        _judge(judge, ledger)
        return judge.report


async def _require(broker: Broker, audited: Audited) -> None:
    if await broker.partitions(audited.topics.requests) is None:
        raise UsageError(
            f"There is no topic {audited.topics.requests}: look at the task's name and at --topic-prefix."
        )
    for topic in audited.more_replies:
        if await broker.partitions(topic) is None:
            raise UsageError(f"There is no reply topic {topic}: look for a typing error in its name.")


def _judge(judge: Judge, ledger: Ledger) -> None:
    for case in _cases(ledger.lines(), judge):
        judge.case(case)
    for reply in out_of_order(ledger.replied()):
        judge.out_of_order(reply)


def _cases(lines: Iterable[Line], judge: Judge) -> Iterator[Case]:
    for identity, of_one in groupby(lines, lambda line: line.identity):
        case = Case(identity)
        for line in of_one:
            if line.kind == "unreadable":
                judge.unreadable(line)
            else:
                case.add(line)
        yield case
