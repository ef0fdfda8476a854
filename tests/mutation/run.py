"""Puts small faults into the parts that lose or double requests when they are wrong, and counts what the tests notice.

By hand: `python tests/mutation/run.py --seed 9 --sample 400`; tests/README.md has the last score. Nothing is
changed on disk.
"""

import argparse
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from judging import judge
from mutants import Mutant, count, mutant
from observing import observe

DELIVERY: Final = ("tests/delivery",)
ENGINE: Final = ("tests/engine", "tests/delivery")
TESTS: Final[dict[str, tuple[str, ...]]] = {
    **{
        f"pipeline/delivery/{name}.py": DELIVERY
        for name in (
            "answers",
            "arrival",
            "dead_letters",
            "failures",
            "handler",
            "outcome",
            "replies",
            "reply_topics",
            "request_reader",
            "retries",
            "retry_returner",
            "slots",
            "undelivered",
            "window",
            "worker",
        )
    },
    **{
        f"pipeline/engine/{name}.py": ENGINE
        for name in (
            "account",
            "batcher",
            "batching",
            "flights",
            "cache/disk",
            "cache/folder",
            "cache/keys",
            "cache/memory",
            "cache/read_only",
            "text_cost",
        )
    },
}
"""The files that get faults, and the tests that should notice."""


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
        judge(root, left, observe(root, TESTS.keys(), folders), report)
    noticed = ends["killed"] + ends["timeout"]
    print(f"{noticed} of {len(drawn)} noticed ({noticed / max(1, len(drawn)):.1%}): {dict(ends)}")


if __name__ == "__main__":
    main()
