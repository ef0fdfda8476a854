"""A program that distills a tiny encoder and is killed in the training: `python -m support.killed_training HOME TEXTS`.

It kills itself when TEXTS texts were trained on, and writes a checkpoint behind each batch.
"""

import os
import signal
import sys
from pathlib import Path

from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.derived.distilled import Distilling, distill_model
from inferstream.pipeline.optimize.distill import training
from inferstream.pipeline.optimize.triage.labeled import Labeled

TOPICS = ("card", "refund", "parcel", "login")
WANTED = Distilling("tiny", layers=1, passes=4, known_as="small", force=True)


def rows() -> Labeled:
    """Labeled texts of one length."""
    texts = [f"{topic} {word} {number}" for topic in TOPICS for word in ("my", "the") for number in range(9)]
    return Labeled(texts, [text.split()[0] for text in texts], {}, {})


def main() -> None:
    limit = int(sys.argv[2])

    def progress(step: str, done: int, total: int | None) -> None:
        if step.startswith("training") and done >= limit:
            os.kill(os.getpid(), signal.SIGKILL)

    training.CHECKPOINT_S = 0.0
    distill_model(ModelRegistry(Path(sys.argv[1])), WANTED, rows(), progress)


if __name__ == "__main__":
    main()
