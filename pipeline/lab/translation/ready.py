"""How long a worker's model takes to be ready, as a process: `python -m … MODEL` prints the seconds.

As at the first start after a pull: the costs of batches are measured, not read.
"""

import sys
import time

import psutil

from ...engine.batching import Limits
from ...engine.cost import Cost
from ...engine.device import Device
from ...engine.lanes import LaneSettings
from ...models.registry import ModelRegistry
from ...runtime.model import RUN
from ...runtime.sessions import Session
from ...tasks.translate.loading import load_translate
from ...tasks.translate.settings import TranslateSettings


def command(model: str) -> list[str]:
    """The command line that starts this process."""
    return [sys.executable, "-m", __spec__.name, model]


def main(name: str) -> None:
    manifest, make, model = load_translate(ModelRegistry(), name, TranslateSettings())
    assert manifest is not None
    session = Session(manifest.graph_path)
    make(session)
    assert model is not None
    lane = LaneSettings(1, time.monotonic, time.thread_time)
    Device(model(session), Limits(1_024, 64), {RUN: Cost()}, lane).learn(manifest.max_tokens)
    sys.stdout.write(f"{time.time() - psutil.Process().create_time():.3f}\n")


if __name__ == "__main__":
    main(sys.argv[1])
