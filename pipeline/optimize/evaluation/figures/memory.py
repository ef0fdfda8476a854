"""What a process takes to serve a model: measured in one of its own.

python -m inferstream.pipeline.optimize.evaluation.figures.memory HOME TASK NAME PROVIDER LONGEST [TAXONOMY]
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ....errors import InferstreamError
from ....models.metrics import Evaluation
from ...triage.report import Progress

STATUS: Final = Path("/proc/self/status")
TIMEOUT_S: Final = 120.0
TEXTS: Final = 20  # of about the longest length, in one run


class MeasuredModel(NamedTuple):
    """Which model a process of its own loads."""

    home: Path
    task: str
    name: str
    taxonomy: str | None = None


def resident_bytes(model: MeasuredModel, provider: str, longest: int) -> int | None:
    """What loading and running it adds to a process with the libraries; None where the system does not tell it.

    ``longest``: words of the texts that it runs.
    """
    command = [
        sys.executable,
        "-m",
        __name__,
        str(model.home),
        model.task,
        model.name,
        provider,
        str(longest),
    ]
    command += [model.taxonomy] if model.taxonomy else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def with_memory(model: MeasuredModel, evaluation: Evaluation, progress: Progress) -> Evaluation:
    """The evaluation with the memory of the model beside its speed, if that was measured."""
    if not evaluation.speeds:
        return evaluation
    step = f"measuring the memory of {model.name}"
    progress(step, 0, 1)
    (speed,) = evaluation.speeds
    taken = resident_bytes(model, speed.served_by.provider, max(speed.tokens))
    progress(step, 1, 1)
    return replace(evaluation, speeds=(replace(speed, resident_bytes=taken),))


def resident() -> int | None:
    """The physical memory of this process."""
    try:
        psutil: Any = import_module("psutil")  # in the extra `bench`
        return int(psutil.Process().memory_info().rss)
    except ImportError:
        pass
    try:
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    except (OSError, ValueError, StopIteration):
        return None


def main(model: MeasuredModel, provider: str, longest: int) -> int | None:
    """The growth of this process while it loads the model and answers texts."""
    from ..served_models import served_model

    before = resident()
    served = served_model(*model[:3], provider, model.taxonomy)
    served.answers(served.ended(["the card " * (longest // 2 + 1)] * TEXTS))
    after = resident()
    return None if before is None or after is None else after - before


if __name__ == "__main__":
    try:
        asked = MeasuredModel(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *sys.argv[6:])
        grown = main(asked, sys.argv[4], int(sys.argv[5]))
        sys.stdout.write(str(grown))
    except InferstreamError as error:
        sys.exit(str(error))
