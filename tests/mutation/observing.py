"""Which test reaches which line, and how long each takes: one run without a fault."""

import importlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from child import Child, run_tests

OURS: Final = {"inferstream", "tests", "support", "delivery", "engine", "conftest"}
FEW_EXAMPLES: Final = 30
"""Tracing is slow, and few examples of a property reach the same lines as many."""


class Covered(NamedTuple):
    """What one run without faults showed: the tests that reach a line, and the seconds of each test."""

    by_line: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]


class Observer:
    """Notes which test runs which lines of the files, in every thread."""

    def __init__(self, root: Path, paths: Collection[str]) -> None:
        self._files = {str(root / path): path for path in paths}
        self._files |= {str(root / "inferstream" / path): path for path in paths}
        self._test = ""
        self.lines: set[tuple[str, int, str]] = set()
        self.seconds: Counter[str] = Counter()

    def trace(self, frame: Any, event: str, _: Any) -> Any:
        path = self._files.get(frame.f_code.co_filename)
        if path is None:
            return None

        def line(frame: Any, event: str, _: Any) -> Any:
            self.lines.add((path, frame.f_lineno, self._test))
            return line

        return line(frame, event, _)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._test = item.nodeid
        began = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - began


def observe(root: Path, paths: Collection[str], folders: Sequence[str]) -> Covered:
    """One run of the tests without a fault, in a fork."""
    child = Child()
    if child.pid == 0:
        status, found = 3, None
        with suppress(BaseException):
            observer = Observer(root, paths)
            threading.settrace(observer.trace)
            sys.settrace(observer.trace)
            status = run_tests(folders, FEW_EXAMPLES, observer)
            sys.settrace(None)
            found = [sorted(observer.lines), observer.seconds, sorted(sys.modules)]
        child.end(status, found)
    status, found = child.result(1_200)
    if status != "0":
        sys.exit(f"The tests in {folders} fail without a fault (status {status}).")
    lines, seconds, modules = found
    for name in {module.partition(".")[0] for module in modules} - OURS - sys.stdlib_module_names:
        with suppress(Exception):
            importlib.import_module(name)  # else each child would import it again
    by_line: dict[tuple[str, int], set[str]] = {}
    for path, line, test in lines:
        by_line.setdefault((path, line), set()).add(test)
    return Covered(by_line, seconds)
