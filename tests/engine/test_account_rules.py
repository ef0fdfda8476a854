"""Each figure of the account against the plainest sum over all that waits."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.entries import a_flight

from inferstream.pipeline.engine.account import MAX_IDLE, Account
from inferstream.pipeline.engine.batching import PRIORITY_DELAYS_S, Entry
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.tenant_work import BUCKET_S, Bucket, Part, bucket_of
from inferstream.pipeline.engine.text_cost import SPECIAL_TOKENS, WEIGHT, TextCost
from inferstream.pipeline.runtime.model import Row

HIGH, NORMAL, LOW = range(3)


def a_row(
    ms: float, tenant: str = "", priority: int = NORMAL, arrived: float = 100.0, later: bool = False
) -> Entry:
    entry = Entry(Row([1]), a_flight(tenant=tenant, priority=priority), arrived=arrived, later=later)
    entry.solo_ms = ms
    entry.waiting = True
    return entry


class PlainAccount:
    """The rules in the words of the docs, reading everything each time."""

    def __init__(self) -> None:
        self.waiting: list[Entry] = []
        self.expected: list[tuple[str, Part]] = []
        self.served: dict[str, float] = {}
        self.reached = 0.0

    def parts(self, tenant: str) -> list[Part]:
        rows = [Part(e.due, e.solo_ms, e.priority) for e in self.waiting if e.flight.tenant == tenant]
        return rows + [part for name, part in self.expected if name == tenant]

    def arrives(self, tenant: str) -> None:
        """A new tenant begins where the one that is served is."""
        self.served.setdefault(tenant, self.reached)

    def goes_on_at(self, tenant: str) -> float:
        """While none of its rows waits, a tenant saves nothing up."""
        served = self.served.get(tenant, 0.0)
        return served if self.first(tenant) else max(served, self.reached)

    def forget(self, tenant: str) -> None:
        """A tenant without work is forgotten, unless it has had more than others."""
        if not self.parts(tenant) and (self.served[tenant] <= self.reached or len(self.served) == 1):
            del self.served[tenant]

    def first(self, tenant: str) -> Entry | None:
        rows = [entry for entry in self.waiting if entry.flight.tenant == tenant]
        return min(rows, key=lambda entry: entry.due, default=None)

    def turn(self, tenant: str) -> float:
        first = self.first(tenant)
        return self.served[tenant] + PRIORITY_DELAYS_S[first.priority] * 1e3 if first else math.inf

    def within(self, tenant: str, ahead_ms: float) -> float:
        found = 0.0
        for priority, delay_s in enumerate(PRIORITY_DELAYS_S):
            ms = sum(part.ms for part in self.parts(tenant) if part.priority == priority)
            found += max(0.0, min(ms, ahead_ms - delay_s * 1e3 - found))
        return found


tenants = st.sampled_from(["", "a", "b"])
rows = st.tuples(
    st.just("put"), tenants, st.integers(0, 2), st.integers(1, 4_000), st.floats(99, 101), st.booleans()
)
texts = st.tuples(
    st.just("expect"), tenants, st.integers(0, 2), st.integers(1, 4_000), st.floats(99, 101), st.just(False)
)
takes = st.tuples(
    st.sampled_from(["take", "drop", "settle", "urgent"]),
    tenants,
    st.just(HIGH),
    st.integers(0, 99),
    st.just(0.0),
    st.just(False),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(rows, rows, texts, takes, takes), max_size=25))
@example(
    [
        ("put", "", 0, 1, 99.0, False),
        ("put", "a", 0, 1, 99.0, False),
        ("take", "", 0, 0, 0.0, False),
        ("drop", "", 0, 0, 0.0, False),  # the tenant that has had more is alone, and still has had more
        ("expect", "a", 0, 1, 99.0, False),
    ]
)
def test_all_figures_are_those_of_a_plain_sum(
    steps: list[tuple[str, str, int, int, float, bool]],
) -> None:
    account, plain = Account(), PlainAccount()
    for number, (step, tenant, priority, amount, arrived, later) in enumerate(steps):
        if step == "put":
            plain.arrives(tenant)
            plain.served[tenant] = plain.goes_on_at(tenant)
            entry = a_row(amount, tenant, priority, arrived, later)
            account.put(entry, number)
            plain.waiting.append(entry)
        elif step == "expect":
            plain.arrives(tenant)
            part = Part(arrived, amount, priority)
            account.expect(tenant, [part])
            plain.expected.append((tenant, part))
        elif step == "settle" and plain.expected:
            name, part = plain.expected.pop(amount % len(plain.expected))
            account.settle(name, [part])
            plain.forget(name)
        elif step == "urgent" and plain.waiting:
            entry = plain.waiting[amount % len(plain.waiting)]
            entry.flight.priority = HIGH
            entry.due = min(entry.due, entry.arrived + PRIORITY_DELAYS_S[HIGH])
            account.reschedule(entry, number)
        elif step in ("take", "drop") and plain.waiting:
            head = account.head()
            assert head is not None
            turns = {name: plain.turn(name) for name in ("", "a", "b")}
            assert turns[head.flight.tenant] == pytest.approx(min(turns.values())), "who had the least work"
            first = plain.first(head.flight.tenant)
            assert first is not None
            assert head.due == first.due, "the row that is due first"
            plain.reached = max(plain.reached, plain.served[head.flight.tenant])
            entry = head if step == "take" else plain.waiting[amount % len(plain.waiting)]
            entry.waiting = False
            account.take(entry, ran=step == "take")
            plain.waiting.remove(entry)
            plain.served[entry.flight.tenant] += entry.solo_ms * (step == "take")
            plain.forget(entry.flight.tenant)
        compare(account, plain)
    for entry in plain.waiting:
        entry.waiting = False
        account.take(entry, ran=True)
    for name, part in plain.expected:
        account.settle(name, [part])
    assert (account.total_ms, account.head()) == (0.0, None)


def compare(account: Account, plain: PlainAccount) -> None:
    everything = [part for tenant in ("", "a", "b") for part in plain.parts(tenant)]
    assert account.total_ms == pytest.approx(sum(part.ms for part in everything), abs=1e-6)
    for tenant in ("", "a", "b"):
        for priority in range(3):
            later = [e for e in plain.waiting if e.later and e.flight.tenant == tenant]
            expected = sum(e.solo_ms for e in later if e.priority <= priority)
            assert account.later_ms(tenant, priority) == pytest.approx(expected, abs=1e-6)
        due = 100.0 + BUCKET_S  # at the begin of a bucket nothing is estimated
        parts = plain.parts(tenant)
        own_ms = sum(part.ms for part in parts if part.due < due)
        if any(part.due == due for part in parts):
            continue
        served = plain.goes_on_at(tenant)
        for priority in range(3):
            ahead_ms = served + own_ms + PRIORITY_DELAYS_S[priority] * 1e3
            others = sum(
                plain.within(other, ahead_ms - plain.goes_on_at(other))
                for other in plain.served
                if other != tenant
            )
            assert account.before_ms(tenant, priority, due) == pytest.approx(own_ms + others, abs=1e-6)


def test_within_a_bucket_the_work_is_due_evenly_from_its_first_to_its_last_row() -> None:
    account = Account()
    for arrived in (0.1, 0.2, 0.0):
        account.put(a_row(10.0, priority=HIGH, arrived=100.0 + arrived), 0)
    ask = {-0.01: 0.0, 0.0: 0.0, 0.05: 7.5, 0.1: 15.0, 0.2: 30.0, 0.24: 30.0, 0.25: 30.0, 9.0: 30.0}
    found = {later: account.before_ms("", HIGH, 100.0 + later) for later in ask}
    assert found == pytest.approx(ask)
    bucket = Bucket(5.0)
    bucket.ms = 4.0
    assert [bucket.due_by(due) for due in (4.9, 5.0, 5.1)] == [0.0, 4.0, 4.0]
    assert [bucket_of(due) for due in (0.0, 0.24, 0.25, -0.1)] == [0, 0, 1, -1]


def test_what_has_gone_leaves_no_rounding_errors_while_the_tenant_has_other_work() -> None:
    account = Account()
    account.expect("a", [Part(200.0, 10.0, LOW)])
    entries = [a_row(ms, "a", HIGH, later=True) for ms in (0.1, 0.2, 0.3)]
    for number, entry in enumerate(entries):
        account.put(entry, number)
    for entry in entries:
        entry.waiting = False
        account.take(entry, ran=False)
    assert account.later_ms("a", LOW) == 0.0
    assert account.before_ms("a", HIGH, 150.0) == 0.0
    assert account.before_ms("a", HIGH, 200.0) == 10.0


def test_of_rows_that_are_due_at_the_same_time_the_one_put_first_is_the_head() -> None:
    account = Account()
    entries = [a_row(1.0) for _ in range(5)]
    for number, entry in enumerate(entries):
        account.put(entry, number)
    for entry in entries:
        assert account.head() is entry
        entry.waiting = False
        account.take(entry, ran=True)
    assert account.head() is None


def test_tenants_that_never_come_back_are_forgotten() -> None:
    """Their names are the clients' choice. One tenant always waits, so the device is never idle."""
    account = Account()
    waiting = a_row(1, "first")
    account.put(waiting, 0)
    for number in range(1, 3_000):
        account.put(a_row(1, f"tenant {number}"), number)
        head = account.head()
        assert head is not None
        head.waiting = False
        account.take(head, ran=True)
    assert len(account._tenants) <= 2 * MAX_IDLE


def test_of_tenants_without_work_those_that_have_had_the_most_are_remembered() -> None:
    """Else a greedy tenant would begin anew behind a flood of names."""
    account = Account()
    account.put(a_row(1, "busy"), 0)
    for number, tenant in enumerate(["greedy", *(f"tenant {number}" for number in range(2_000))], 1):
        row = a_row(500 if tenant == "greedy" else 1, tenant)
        account.put(row, number)
        row.waiting = False
        account.take(row, ran=True)
    account.put(a_row(1, "greedy"), 5_000)
    account.put(a_row(1, "new"), 5_001)
    turns = []
    while (head := account.head()) is not None:
        turns.append(head.flight.tenant)
        head.waiting = False
        account.take(head, ran=True)
    assert turns[-1] == "greedy"


def test_the_rows_of_a_text_are_estimated_from_its_characters() -> None:
    cost = Cost((1.0, 0.05, 0.04, 1e-5))
    texts = TextCost(cost)
    for characters, tokens, rows in (
        (0, 2, 1),
        (1, 3, 1),
        (4, 3, 1),
        (5, 4, 1),
        (1_016, 256, 1),
        (1_017, 257, 2),
    ):
        expected = (cost.ms(1, min(tokens, 256)), rows)
        assert texts.rows(characters) == expected, characters
    assert SPECIAL_TOKENS == 2


def test_the_estimate_learns_from_the_texts_that_were_tokenized() -> None:
    cost = Cost((1.0, 0.05, 0.04, 1e-5))
    texts = TextCost(cost)
    texts.observe(100, [50])
    ratio = 0.25 + WEIGHT * (0.5 - 0.25)
    assert texts.rows(1_000) == (cost.ms(1, 256), math.ceil((math.ceil(1_000 * ratio) + 2) / 256))
    for _ in range(500):
        texts.observe(1_000, [128, 128, 128, 116])
    assert texts.rows(1_000) == (cost.ms(1, 128), 4), "a text of several rows tells how long a row may be"
    for _ in range(500):
        texts.observe(0, [90])
    assert texts.rows(1)[0] == cost.ms(1, 6), "at most four tokens a character"
