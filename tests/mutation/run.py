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
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

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
"""A test may take this many times as long as without a fault, plus the slack; longer counts as noticed."""
SLACK_S = 10.0


class Covered(NamedTuple):
    """What one run without faults showed: the tests that reach a line, and the seconds of each test."""

    by_line: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]


Report = Callable[[Mutant, str, str, float], None]
"""Gets a mutant, how it ended ("killed", "timeout", "survived" or "not reached"), the failed test, the seconds."""


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


class Child:
    """A forked process, which may send one JSON value before it ends."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()  # whatever the tests start ends with it
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
        else:
            os.close(self._writing)
            os.set_blocking(self._reading, False)

    def end(self, status: int, found: Any) -> NoReturn:
        """In the child: send, and end without what else would happen at an exit."""
        with os.fdopen(self._writing, "w") as pipe:
            json.dump(found, pipe)
        os._exit(status)

    def result(self, timeout_s: float) -> tuple[str, Any]:
        """In the parent: the exit status, or "timeout", and what was sent."""
        end = time.monotonic() + timeout_s
        received = b""
        try:
            while True:
                done, status = os.waitpid(self.pid, os.WNOHANG)
                with suppress(BlockingIOError):
                    while piece := os.read(self._reading, 1 << 20):
                        received += piece
                if done:
                    return str(os.waitstatus_to_exitcode(status)), json.loads(received or b"null")
                if time.monotonic() > end:
                    os.killpg(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return "timeout", None
                time.sleep(0.01)
        finally:
            os.close(self._reading)


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
        status, failed = child.result(TIMES * sum(seconds.values()) + SLACK_S)
        ends = {"0": "survived", "timeout": "timeout", str(-signal.SIGALRM): "timeout"}
        self._report(one, ends.get(status, "killed"), failed or f"status {status}", time.monotonic() - began)
        return False


def run_tests(folders: Sequence[str], examples: int, *plugins: Any) -> int:
    from hypothesis import HealthCheck, Phase, settings

    # The same examples each time; a failing one need not be made smaller.
    settings.register_profile(
        "mutation",
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:terminal", "-o", "addopts="]
    options += ["--import-mode=importlib", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, "-m", FAST, *folders], [*plugins]))


def observe(root: Path, folders: Sequence[str]) -> Covered:
    """One run of the tests without a fault, in a fork."""
    child = Child()
    if child.pid == 0:
        status, found = 3, None
        with suppress(BaseException):
            observer = Observer(root)
            threading.settrace(observer.trace)
            sys.settrace(observer.trace)
            status = run_tests(folders, 30, observer)
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


def judge(root: Path, mutants: Sequence[Mutant], covered: Covered, report: Report) -> None:
    """Run the tests on each mutant."""
    judging = Judge(root, mutants, covered, report)
    status = run_tests((), 100, judging)
    if judging.child is not None:
        judging.child.end(status, judging.chooser.failed)


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
    ends: Counter[str] = Counter()
    done = set()
    if arguments.out and arguments.out.exists():
        for line in arguments.out.read_text().splitlines():
            end, _, _, path, number, *_ = json.loads(line)
            done.add((path, number))
            ends[end] += 1

    def report(one: Mutant, end: str, test: str, took_s: float) -> None:
        ends[end] += 1
        if end in ("survived", "not reached"):
            print(f"{end}: {one.name}", flush=True)
        if arguments.out:
            with arguments.out.open("a") as out:
                out.write(json.dumps([end, test, round(took_s, 2), *one]) + "\n")

    for folders in sorted({TESTS[one.path] for one in drawn}):
        left = [one for one in drawn if TESTS[one.path] == folders and (one.path, one.number) not in done]
        judge(root, left, observe(root, folders), report)
    noticed = ends["killed"] + ends["timeout"]
    print(f"{noticed} of {len(drawn)} noticed ({noticed / max(1, len(drawn)):.1%}): {dict(ends)}")


if __name__ == "__main__":
    main()
