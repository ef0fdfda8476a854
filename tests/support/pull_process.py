"""A program that pulls the tiny model: `python -m support.pull_process MODEL_FOLDER HOME`.

Prints the steps, then names and sources of the variants.
"""

import sys
from pathlib import Path

from inferstream.pipeline.errors import InferstreamError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from support import tiny_catalogue


def report(step: str, done: int, total: int | None) -> None:
    print(step, done, total, flush=True)


def main() -> None:
    published = tiny_catalogue.publish(Path(sys.argv[1]))
    try:
        manifests = pull(ModelRegistry(Path(sys.argv[2])), "tiny", report, catalogue={"tiny": published})
    except InferstreamError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(*(manifest.name for manifest in manifests), *(manifest.source for manifest in manifests), sep="|")


if __name__ == "__main__":
    main()
