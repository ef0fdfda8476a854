"""Puts small faults into the parts that lose or double requests when they are wrong, and counts what the tests notice.

By hand: `python tests/mutation/run.py --seed 9 --sample 400`; tests/README.md has the last score.
Each mutant gets a process of its own, forked from one that has imported the libraries; nothing is changed on disk.
"""

import argparse
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mutants import Mutant, code_of, count, mutant

DELIVERY = ("tests/delivery",)
ENGINE = ("tests/engine", "tests/delivery")
TESTS: dict[str, tuple[str, ...]] = {
    **{
        f"pipeline/delivery/{name}.py": DELIVERY
        for name in (
            "answers",
            "arrival",
            "dead_letters",
            "failures",
            "handler",
            "replies",
            "reply_topics",
            "request_reader",
            "retries",
            "retry_returner",
            "window",
        )
    },
    **{
        f"pipeline/engine/{name}.py": ENGINE
        for name in (
            "batcher",
            "batching",
            "flights",
            "cache/disk",
            "cache/folder",
            "cache/keys",
            "cache/memory",
        )
    },
}
"""The files that get faults, and the tests that should notice."""

OURS = {"inferstream", "tests", "support", "delivery", "engine", "conftest"}
FAST = "not kafka and not containers and not optimize"
TIMES = 5
"""A run may take this many times as long as without a fault; longer counts as noticed."""
SLACK_S = 10.0


class Covered(NamedTuple):
    """What one run without faults showed: the tests that reach a line, and the seconds of each test."""

    by_line: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]


class Observer:
    """Notes which test runs which lines of the files, in every thread."""

    def __init__(self, root: Path) -> None:
        self._files = {str(root / path): path for path in TESTS}
        self._files |= {str(root / "inferstream" / path): path for path in TESTS}
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


class Chooser:
    """Keeps the tests that reach the fault, the quickest first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._seconds), key=lambda i: self._seconds[i.nodeid]
        )

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


def in_a_child(work: Callable[[], tuple[int, Any]], timeout_s: float) -> tuple[str, Any]:
    """Run ``work`` in a fork: the exit status, or "timeout", and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        status, found = 3, None
        with suppress(BaseException):
            status, found = work()
        with os.fdopen(writing, "w") as pipe:
            json.dump(found, pipe)
        os._exit(status)
    os.close(writing)
    os.set_blocking(reading, False)
    end = time.monotonic() + timeout_s
    received = b""
    try:
        while True:
            with suppress(BlockingIOError):
                while piece := os.read(reading, 1 << 20):
                    received += piece
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                with suppress(BlockingIOError):
                    while piece := os.read(reading, 1 << 20):
                        received += piece
                return str(os.waitstatus_to_exitcode(status)), json.loads(received or b"null")
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "timeout", None
            time.sleep(0.01)
    finally:
        os.close(reading)


def run_tests(folders: Sequence[str], *plugins: Any) -> int:
    from hypothesis import HealthCheck, Phase, settings

    # The same examples each time; a failing one need not be made smaller.
    settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    return int(
        pytest.main(
            [
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "--no-header",
                "--tb=no",
                "-W",
                "ignore::pytest.PytestAssertRewriteWarning",
                "-m",
                FAST,
                *folders,
            ],
            [*plugins],
        )
    )


def observe(root: Path, folders: Sequence[str]) -> Covered:
    """One run of the tests without a fault."""

    def work() -> tuple[int, Any]:
        observer = Observer(root)
        import threading

        threading.settrace(observer.trace)
        sys.settrace(observer.trace)
        status = run_tests(folders, observer)
        sys.settrace(None)
        return status, [sorted(observer.lines), observer.seconds, sorted(sys.modules)]

    status, found = in_a_child(work, 600)
    if status != "0":
        sys.exit(f"The tests in {folders} fail without a fault (status {status}).")
    lines, seconds, modules = found
    for name in {module.partition(".")[0] for module in modules} - OURS - sys.stdlib_module_names:
        with suppress(Exception):
            importlib.import_module(name)  # else each child would import it again
    by_line: dict[tuple[str, int], set[str]] = {}
    for path, line, test in lines:
        by_line.setdefault((path, line), set()).add(test)
    status, failed = in_a_child(
        lambda: (run_tests(folders, chooser := Chooser(seconds)), chooser.failed), 600
    )
    if status != "0":
        sys.exit(f"Without a fault {failed or folders} fails in a fork (status {status}).")
    return Covered(by_line, seconds)


def judge(root: Path, changed: Mutant, covered: Covered) -> tuple[str, str, float]:
    """How the mutant ended ("killed", "timeout", "survived", "not reached"), the test that failed, the seconds."""
    first, last = changed.lines
    tests = {
        test for line in range(first, last + 1) for test in covered.by_line.get((changed.path, line), ())
    }
    if not tests:
        return "not reached", "", 0.0
    # A line that ran during the import may matter to any test.
    seconds = {test: s for test, s in covered.seconds.items() if test in tests or tests == {""}}
    files = sorted({test.partition("::")[0] for test in seconds})

    def work() -> tuple[int, Any]:
        sys.meta_path.insert(0, Finder(root, changed))  # type: ignore[arg-type]
        chooser = Chooser(seconds)
        return run_tests(files, chooser), chooser.failed

    began = time.monotonic()
    status, failed = in_a_child(work, TIMES * sum(seconds.values()) + SLACK_S)
    took = time.monotonic() - began
    if status == "timeout":
        return "timeout", "", took
    return ("survived" if status == "0" else "killed"), failed or f"status {status}", took


def sample(root: Path, seed: int, size: int, only: str) -> list[Mutant]:
    """Mutants of all files, drawn by the seed; then those of the files whose path has ``only`` in it."""
    sites = [(path, number) for path in TESTS for number in range(count(root, path))]
    drawn = random.Random(seed).sample(sites, min(size, len(sites)))
    return [mutant(root, path, number) for path, number in sorted(drawn) if only in path]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--only", default="", help="only files with this in their path")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="the checkout to test")
    parser.add_argument("--out", type=Path, help="JSON Lines of what became of each mutant")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    os.chdir(root)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root / "tests")}
    sys.path[:0] = [str(root), str(root / "tests")]
    drawn = sample(root, arguments.seed, arguments.sample, arguments.only)
    print(f"{len(drawn)} mutants", flush=True)
    covered = {folders: observe(root, folders) for folders in {TESTS[one.path] for one in drawn}}
    ends: Counter[str] = Counter()
    for one in drawn:
        end, test, took = judge(root, one, covered[TESTS[one.path]])
        ends[end] += 1
        if end in ("survived", "not reached"):
            print(f"{end}: {one.name}", flush=True)
        if arguments.out:
            with arguments.out.open("a") as out:
                out.write(json.dumps([end, test, round(took, 2), *one]) + "\n")
    noticed = ends["killed"] + ends["timeout"]
    print(f"{noticed} of {len(drawn)} noticed ({noticed / max(1, len(drawn)):.1%}): {dict(ends)}")


if __name__ == "__main__":
    main()
