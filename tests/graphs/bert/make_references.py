"""Writes references.json: what `transformers` computes for the tiny models of each family.

Run where torch is, from the folder of the repository: PYTHONPATH=.:tests python tests/graphs/bert/make_references.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from support.tiny_families import BATCHES, TINY, token_rows, write_tiny
from support.torch_reference import TorchModel


def main() -> None:
    found: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__}
    for family in TINY:
        for classifier in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                model = TorchModel(
                    write_tiny(Path(folder), family, classifier=classifier), classifier=classifier
                )
                assert not model.not_loaded, model.not_loaded
                compute = model.logits if classifier else model.means
                outputs = [compute(token_rows(lengths)).round(6).tolist() for lengths in BATCHES]
                found[f"{family} {'logits' if classifier else 'means'}"] = outputs
    Path(__file__).with_name("references.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
