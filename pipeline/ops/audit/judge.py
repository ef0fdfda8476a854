"""Counts each request in the report."""

from .case import Case
from .facts import CANCELLED, SUPERSEDED
from .report import AuditReport, Oldest, StepCount
from .work_file import AuditRow, OrderedReply


class Judge:
    """Fills the report of the requests sent from ``since_ms`` on and before ``until_ms``.

    Args:
        now_ms: when the end offsets were read, in Unix time.
        grace_ms: a request may be open for this time after it was sent, or after its retry was due.
        read: the reply topics that were read.
        steps: of the chain that is audited; 1 for a task.
    """

    def __init__(
        self,
        since_ms: int | None,
        until_ms: int | None,
        *,
        now_ms: int,
        grace_ms: int,
        read: frozenset[str],
        steps: int = 1,
    ) -> None:
        of_steps = range(1, steps + 1) if steps > 1 else ()
        self.report = AuditReport(since_ms, until_ms, steps={step: StepCount() for step in of_steps})
        self._now_ms = now_ms
        self._due_ms = now_ms - grace_ms
        self._read = read

    def case(self, case: Case) -> None:
        """Count one identity."""
        if not self._within(case.asked_ms if case.known else case.began_ms):
            return
        if case.known:
            self._request(case)
        elif case.ends or case.chunks:
            self.report.unknown += 1
            self.report.example("unknown", case.identity)

    def unreadable(self, row: AuditRow) -> None:
        """Count a record on a reply topic that is not a reply."""
        self.report.unreadable += self._within(row.timestamp_ms)

    def out_of_order(self, reply: OrderedReply) -> None:
        """Count a reply that `out_of_order` has found."""
        if self._within(reply.timestamp_ms):
            self.report.out_of_order += 1
            self.report.example("out_of_order", reply.identity)

    def _request(self, case: Case) -> None:
        report = self.report
        report.requests += case.count
        report.repeats += max(0, case.how["first"] - 1)
        report.replayed += case.how["replayed"]
        report.retried += case.how["returned"]
        report.cancels += bool(case.cancels)
        report.cancelled += case.outcome in CANCELLED
        report.superseded += case.outcome == SUPERSEDED
        report.late_cancels += bool(case.cancels and case.ends and not case.cancelled)
        report.kept += case.letters.total() - case.letters_alone
        report.chunks += case.chunks.total()
        for step, counted in report.steps.items():
            hops = case.hops[step]
            counted.reached += case.count if step == 1 else hops > 0
            counted.repeated += max(0, hops - case.deliveries)
        report.resumed += case.is_resumed
        report.outdated_chunks += case.outdated_chunks
        report.repeated_pieces += case.repeated_pieces
        if case.is_torn:
            report.torn += 1
            report.example("torn", case.identity)
        if case.ends:
            self._ended(case)
        else:
            self._not_ended(case)

    def _ended(self, case: Case) -> None:
        report, repeated = self.report, max(0, case.ends - case.deliveries)
        match case.outcome:
            case "result":
                report.results += 1
            case "letter":
                report.dead_letters += case.count
            case "expired":
                report.expired += 1
            case code:
                report.failures[code] += 1
        if case.ends < case.deliveries and case.due_ms <= self._due_ms:
            report.missing_repeats += case.deliveries - case.ends
            report.example("missing", case.identity)
        if case.ends >= case.deliveries and case.is_told_late(self._due_ms):
            report.late_chunks += 1
            report.example("late_chunks", case.identity)
        report.duplicated += repeated
        report.duplicated_chunks += case.repeated_chunks
        report.contradictory += bool(repeated) and case.kinds > 1
        if repeated or case.repeated_chunks:
            report.example("duplicated", case.identity)

    def _not_ended(self, case: Case) -> None:
        report, unread = self.report, case.reply_topics - self._read - {None}
        if report.oldest_open is None or case.asked_ms < report.oldest_open.asked_ms:
            report.oldest_open = Oldest(case.identity, case.asked_ms, (self._now_ms - case.asked_ms) / 1e3)
        if unread:
            report.elsewhere += 1
            report.note_unread(str(topic) for topic in unread)
            report.example("elsewhere", case.identity)
        elif case.due_ms > self._due_ms:
            report.open += case.count
        else:
            report.missing += case.count
            if case.last_step in report.steps:
                report.steps[case.last_step].missing += case.count
            report.example("missing", case.identity)

    def _within(self, timestamp_ms: int) -> bool:
        since, until = self.report.since_ms, self.report.until_ms
        return (since is None or timestamp_ms >= since) and (until is None or timestamp_ms < until)
