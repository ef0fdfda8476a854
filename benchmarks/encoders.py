"""Texts per second of encoders on one core, in alternating turns, each relative to the first.

python benchmarks/encoders.py examples/tickets.jsonl minilm-fp32 minilm-int8 minilm-pruned60-int8
"""

import sys
import time
from pathlib import Path
from statistics import median

from inferstream.pipeline.models.manifest import ENCODER
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.rows.csv_rows import Wanted
from inferstream.pipeline.rows.row_file import read_rows
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.pooling import embed

ROUNDS = 7
TEXTS = 200


def main(path: Path, names: list[str]) -> None:
    texts = [str(row.values["text"]) for row in read_rows(path, Wanted({"--text": "text"}, []))][:TEXTS]
    registry = ModelRegistry()
    sessions = {}
    for name in names:
        manifest = registry.load(name, ENCODER)
        tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
        sessions[name] = (tokenizer, Session(manifest.graph_path, provider="cpu", threads=1))
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(ROUNDS + 1):
        for name, (tokenizer, session) in sessions.items():
            start = time.process_time()
            embed(texts, tokenizer, session)
            if turn:
                taken[name].append(time.process_time() - start)
    for name, times in taken.items():
        ratios = sorted(first / own for first, own in zip(taken[names[0]], times, strict=True))
        rate = len(texts) / median(times)
        print(f"{name:<24} {rate:6.0f}/s  {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
