"""How soon a worse candidate is rolled back, and how often an equal one is.

    python benchmarks/rollouts.py worse        # on a Kafka of its own, 200 requests/s, devices that sleep
    python benchmarks/rollouts.py equal 200 4  # simulated: rollouts, hours of each

The simulation counts what a worker counts at 200 requests/s, with a canary of 20 % and 10 % labels, and judges each
second. Times have a heavy tail, and bursts of a few seconds in which all take four times as long.
"""

import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from inferstream.pipeline.config import Config, KafkaConfig, RegistryConfig
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.lab.rollouts.trial_run import trial_run
from inferstream.pipeline.lab.rollouts.versions import VersionFault
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.rollouts.figures import RolloutFigures
from inferstream.pipeline.rollouts.histogram import PER_DOUBLING, Histogram
from inferstream.pipeline.rollouts.judgement import breach
from inferstream.pipeline.rollouts.limits import RolloutLimits

FAULTS = (
    VersionFault("twice the latency", slower=2),
    VersionFault("5 points worse, 10 % labeled", wrong=0.05),
    VersionFault("10 % disagreement", differing=0.1),
    VersionFault("10 % errors", failing=0.1),
    VersionFault("equal"),
)
SHARE = 0.2


def worse(workers: int) -> None:
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder) / "kafka", port=0) as kafka:
            config = Config(
                kafka=KafkaConfig(bootstrap=kafka.bootstrap, partitions=8),
                registry=RegistryConfig(url=f"{folder}/registry"),
            )
            rollout = Rollout("canary", SHARE)
            found = asyncio.run(trial_run(config, fault, rollout, Path(folder), workers=workers))
        took = "not rolled back" if found.seconds is None else f"rolled back after {found.seconds:.1f} s"
        print(
            f"{fault.name}: {took}; {found.requests:,} requests, {found.of_candidate:,} answers of the candidate, "
            f"{found.lost} lost, {found.failures} failures. {found.reason}",
            flush=True,
        )


def equal(rollouts: int, hours: float) -> None:
    draws = np.random.default_rng(0)
    alarms = 0
    for number in range(rollouts):
        figures = RolloutFigures()
        burst = 0
        for second in range(round(hours * 3600)):
            burst = max(0, burst - 1) or (random.Random(f"{number}/{second}").randrange(300) == 0) * 5
            count_second(figures, draws, 4.0 if burst else 1.0)
            if second % 5 == 4 and (found := breach(figures, RolloutLimits())) is not None:
                alarms += 1
                print(f"rollout {number}, after {second} s: {found.sentence}", flush=True)
                break
    print(f"{alarms} of {rollouts} equal candidates were rolled back within {hours:g} hours")


def count_second(figures: RolloutFigures, draws: Any, stretch: float) -> None:
    """What comes in one second of two equal versions that differ on 2 % of the requests."""
    for side, number in ((figures.stable, 160), (figures.candidate, 40)):
        failed = int(draws.binomial(number, 0.001))
        side.failed += failed
        side.answered += number - failed
        count_values(side.latency, 5 * stretch * draws.lognormal(0, 0.7, number))
        count_values(side.cost, draws.lognormal(0, 0.3, number))
    differed = int(draws.binomial(40, 0.02))
    figures.differed += differed
    figures.agreed += 40 - differed
    stable, candidate, wrong, right = draws.multinomial(20, [0.01, 0.01, 0.06, 0.92])
    figures.stable_right += int(stable)
    figures.candidate_right += int(candidate)
    figures.both_wrong += int(wrong)
    figures.both_right += int(right)


def count_values(histogram: Histogram, values: Any) -> None:
    buckets, counts = np.unique(np.floor(np.log2(values) * PER_DOUBLING).astype(int), return_counts=True)
    for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
        histogram[bucket] = histogram.get(bucket, 0) + count


if __name__ == "__main__":
    if sys.argv[1] == "worse":
        worse(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    else:
        equal(int(sys.argv[2]), float(sys.argv[3]))
