"""The project's own auditor as the judge of a run."""

import time
from pathlib import Path

import msgspec

from ....schemas.topics import Topics
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import Report
from .judging import Judge, Judgment


def auditor(config: Config, topics: Topics, folder: Path) -> Judge:
    """What reads the topics over a connection of its own; its report goes to ``audit.json`` in ``folder``."""
    audited = Audited(topics, [f"{seconds}s" for seconds in config.retries.tiers_s])

    async def judge() -> Judgment:
        async with KafkaBroker(config.kafka) as broker:
            report = await audit(broker, audited, work=folder / "audit.sqlite", clock=time.time)
        (folder / "audit.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        return judgment_of(report)

    return judge


def judgment_of(report: Report) -> Judgment:
    """What counts in the end; after a run nothing may be open any more."""
    return Judgment(
        requests=report.requests,
        ends={
            "results": report.results,
            "failures": report.failures.total(),
            "expired": report.expired,
            "dead_letters": report.dead_letters,
        },
        lost=report.missing + report.missing_repeats + report.elsewhere + report.open,
        duplicated=report.duplicated,
        out_of_order=report.out_of_order,
    )
