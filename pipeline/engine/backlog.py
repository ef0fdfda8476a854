"""What the rows of a batcher will cost."""

import threading

from .account import Account


class Backlog:
    """The figures of a batcher. Its lock is ``_changed``, which guards the account."""

    def __init__(self, account: Account, capacity: int) -> None:
        """``capacity``: how many rows may be between two steps, on all lanes together."""
        self._account = account
        self._changed = threading.Condition()
        self._capacity = capacity

    @property
    def backlog_ms(self) -> float:
        """The summed solo cost of what waits, texts included that are not tokenized yet."""
        return self._account.total_ms  # without the lock: a float is read whole

    @property
    def further_ms(self) -> float:
        """The part of it that is further steps of rows."""
        return self._account.further_ms

    def before_ms(self, tenant: str, priority: int, due: float) -> float:
        """The solo cost of what will begin before a new row; see `Account.before_ms`."""
        with self._changed:
            return self._account.before_ms(tenant, priority, due)

    def blocking_ms(self, before_ms: float) -> float:
        """The solo cost of further steps before a new row can begin, as the lanes have no room; for `before_ms`."""
        with self._changed:
            return self._account.blocking_ms(before_ms, self._capacity)
