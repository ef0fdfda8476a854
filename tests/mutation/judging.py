"""Runs the tests that reach a fault, with the fault in."""

import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from child import Child, run_tests
from mutants import Mutant, code_of
from observing import Covered

TIMES = 5
"""A test may take this many times as long as without a fault, plus the slack; longer counts as noticed."""
SLACK_S = 5.0
BEGIN_S = 120.0
"""Until the first test runs, on a machine that is busy with other work."""

Report = Callable[[Mutant, str, str, float], None]
"""Gets a mutant, how it ended ("killed", "timeout", "survived" or "not reached"), the failed test, the seconds."""


class Chooser:
    """Keeps the tests that reach the fault, the quickest first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._seconds), key=lambda i: self._seconds[i.nodeid]
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """A test that takes too long ends the process, by a signal."""
        signal.setitimer(signal.ITIMER_REAL, TIMES * self._seconds[item.nodeid] + SLACK_S)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class Finder:
    """Imports one file of the package as its mutant."""

    def __init__(self, root: Path, changed: Mutant) -> None:
        self._name = "inferstream." + changed.path.removesuffix(".py").replace("/", ".")
        self._root = root
        self._mutant = changed

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.get_code = lambda _: code_of(self._root, self._mutant)  # type: ignore[attr-defined]
        return spec


class Judge:
    """A session of pytest that is forked, once for each mutant, before it has imported what is tested."""

    def __init__(self, root: Path, mutants: Sequence[Mutant], covered: Covered, report: Report) -> None:
        self._root = root
        self._mutants = mutants
        self._covered = covered
        self._report = report
        self.child: Child | None = None
        self.chooser = Chooser({})

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        for one in self._mutants:
            if self._begin(one, session):
                return  # in the child: collect and run
        pytest.exit("all are judged", 0)

    def _begin(self, one: Mutant, session: pytest.Session) -> bool:
        covered = self._covered
        first, last = one.lines
        tests = {
            test for line in range(first, last + 1) for test in covered.by_line.get((one.path, line), ())
        }
        if not tests:
            self._report(one, "not reached", "", 0.0)
            return False
        # A line that ran during the import may matter to any test.
        seconds = {test: s for test, s in covered.seconds.items() if test in tests or tests == {""}}
        began = time.monotonic()
        child = Child()
        if child.pid == 0:
            self.child = child
            sys.meta_path.insert(0, Finder(self._root, one))  # type: ignore[arg-type]
            self.chooser = Chooser(seconds)
            session.config.pluginmanager.register(self.chooser)
            session.config.args = sorted({test.partition("::")[0] for test in seconds})
            return True
        status, failed = child.result(BEGIN_S + TIMES * sum(seconds.values()) + SLACK_S * len(seconds))
        ends = {"0": "survived", "timeout": "timeout", str(-signal.SIGALRM): "timeout"}
        self._report(one, ends.get(status, "killed"), failed or f"status {status}", time.monotonic() - began)
        return False


def judge(root: Path, mutants: Sequence[Mutant], covered: Covered, report: Report) -> None:
    """Run the tests on each mutant."""
    judging = Judge(root, mutants, covered, report)
    status = run_tests((), 100, judging)
    if judging.child is not None:
        judging.child.end(status, judging.chooser.failed)
