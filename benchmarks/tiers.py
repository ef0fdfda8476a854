"""Fitted triage models over a real Kafka: requests per second of each, relative to the first; and of fleets of workers.

    python -m benchmarks.tiers test.csv text banking banking-cascade        # a file, its column, models
    python -m benchmarks.tiers test.csv text banking-fp32 banking-pruned    # a cascade on a pruned encoder beside fp32
    python -m benchmarks.tiers test.csv text banking-cascade                # one model: 1, 2 and 4 workers

The names are those of `triage fit --name … --base … --serve …`; decision 40 has the fits. The models take turns with
the same texts, in another order in each round, without a cache. The devices of a fleet only sleep, so that the cores
of this machine are not the limit.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from inferstream.pipeline.cli.commands.bench import with_bench
from inferstream.pipeline.cli.output.bench_progress import BenchProgress
from inferstream.pipeline.lab.bench.bench import Bench
from inferstream.pipeline.lab.bench.runs import Run
from inferstream.pipeline.lab.bench.tickets import read_texts
from inferstream.pipeline.lab.statistics import median, median_interval
from inferstream.pipeline.lab.tiers.suite import FLEETS, TierEffort, TierSuite


def line(what: str, ratios: Sequence[float]) -> None:
    low, high = median_interval(ratios)
    print(f"{what:50} {median(ratios):.3f}  ({low:.3f} to {high:.3f})")


def main(path: Path, column: str, models: Sequence[str]) -> None:
    texts = read_texts(path, column)
    with BenchProgress(Console(stderr=True)) as progress:

        async def measure(bench: Bench) -> list[dict[str, Run]]:
            suite = TierSuite(bench, texts, TierEffort(), progress)
            return await (suite.compare(models) if len(models) > 1 else suite.scale(models[0]))

        rounds: Sequence[Mapping[str, Run]] = asyncio.run(with_bench(None, measure))
    for name in rounds[0]:
        runs = [one[name] for one in rounds]
        print(
            f"{name:30} {median([run.per_s for run in runs]):8.0f}/s {median([run.cpu_ms for run in runs]):6.2f} ms CPU"
        )
    first, *others = rounds[0]
    for name in others:
        workers = FLEETS.get(name, 1) / FLEETS.get(first, 1)
        speed = "steady_per_s" if name in FLEETS else "per_s"
        line(
            f"{name} ÷ {first}, requests/s",
            [getattr(one[name], speed) / getattr(one[first], speed) / workers for one in rounds],
        )
        if name not in FLEETS:
            line(f"{first} ÷ {name}, CPU time", [one[first].cpu_ms / one[name].cpu_ms for one in rounds])
            same = [one[name].labels[i] == label for one in rounds for i, label in one[first].labels.items()]
            print(f"{'share of other categories':50} {1 - sum(same) / len(same):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
