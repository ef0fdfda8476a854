"""What `transformers` computes for the tiny models: the reference. Needs the extra `optimize`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferstream.pipeline.runtime.encoder import collate

Floats = NDArray[np.float32]


class TorchModel:
    """The model in a folder as on the hub."""

    def __init__(self, folder: Path, *, classifier: bool) -> None:
        from transformers import AutoModel, AutoModelForSequenceClassification

        kind: Any = AutoModelForSequenceClassification if classifier else AutoModel
        self._model, info = kind.from_pretrained(str(folder), output_loading_info=True)
        self._model.eval()
        self.not_loaded = [
            name for names in info.values() for name in names if not str(name).startswith("pooler.")
        ]

    def logits(self, rows: list[list[int]]) -> Floats:
        """(rows, labels)"""
        found: Floats = self._run(rows)[0].logits.numpy()
        return found

    def states(self, rows: list[list[int]]) -> Floats:
        """(rows, length, hidden)"""
        found: Floats = self._run(rows)[0].last_hidden_state.numpy()
        return found

    def means(self, rows: list[list[int]]) -> Floats:
        """The mean of the tokens, of length 1; (rows, hidden)."""
        out, mask = self._run(rows)
        states = out.last_hidden_state.numpy()
        sums = (states * mask[:, :, None]).sum(axis=1)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def _run(self, rows: list[list[int]]) -> tuple[Any, NDArray[np.int64]]:
        import torch

        feeds = collate(rows, 1)
        with torch.no_grad():
            inputs = {name: torch.tensor(array) for name, array in feeds.items()}
            return self._model(**inputs), feeds["attention_mask"]
