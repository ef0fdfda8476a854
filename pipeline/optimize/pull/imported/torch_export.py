"""Exports a model by torch and transformers, where no builder knows its architecture and it brings no graph.

Both are in the extra `optimize` alone. Code of the model's own is never run, and weights are read from safetensors.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import ModelError
from ....graphs.imported.adapting import IDS, LOGITS, MASK, STATES
from ....runtime.sessions import Session

OPSET = 17
MAX_DIFFERENCE = 1e-4  # share of the largest number, between the graph and torch


def can_export() -> bool:
    """Whether torch and transformers are installed. They are not imported for it."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def export(folder: Path, target: Path, max_tokens: int, *, classifier: bool) -> None:
    """Write the graph of the model in ``folder`` to ``target``.

    Raises ModelError if the model cannot be exported, or if the graph does not give what torch gives for rows of
    several lengths.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing; what they warn of is compared below
        output = LOGITS if classifier else STATES[0]
        model = _with_one_output(_model(folder, classifier=classifier), output)
        axes = {0: "rows", 1: "length"}
        try:
            torch.onnx.export(
                model,
                tuple(torch.tensor(one) for one in _feeds([17, 9]).values()),
                str(target),
                input_names=[IDS, MASK],
                output_names=[output],
                dynamic_axes={IDS: axes, MASK: axes, output: {0: "rows"} if classifier else axes},
                opset_version=OPSET,
                dynamo=False,
            )
        except Exception as error:  # torch raises anything
            raise ModelError(f"torch cannot export the model in {folder}: {_first_line(error)}.") from error
        _compare(model, target, output, max_tokens)


def _model(folder: Path, *, classifier: bool) -> Any:
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind: Any = AutoModelForSequenceClassification if classifier else AutoModel
    try:
        model, found = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",
            dtype="float32",
            output_loading_info=True,
        )
    except Exception as error:
        raise ModelError(f"transformers cannot load the model in {folder}: {_first_line(error)}.") from error
    missing = [name for name in found["missing_keys"] if not str(name).startswith("pooler.")]
    if missing:
        raise ModelError(f"The weights in {folder} lack {missing[0]} of the model in config.json.")
    return model.eval()


def _with_one_output(model: Any, output: str) -> Any:
    """The model with its two inputs by position, as the export gives them, and nothing but this output."""
    import torch

    class OneOutput(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return getattr(self.model(input_ids=input_ids, attention_mask=attention_mask), output)

    return OneOutput().eval()


def _feeds(lengths: list[int]) -> dict[str, Any]:
    longest = max(lengths)
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.arange(longest * len(lengths), dtype=np.int64).reshape(len(lengths), longest) % 89 + 5
    return {IDS: ids * mask, MASK: mask}


def _compare(model: Any, graph: Path, output: str, max_tokens: int) -> None:
    import torch

    session = Session(graph, provider="cpu")
    for lengths in ([2], [3, 2], [max_tokens // 2, 5, max_tokens], [max_tokens]):
        feeds = _feeds(lengths)
        with torch.no_grad():
            wanted = model(**{name: torch.tensor(array) for name, array in feeds.items()}).numpy()
        found = session.run(feeds)[0]
        if output != LOGITS:  # what padding gets does not matter
            wanted, found = (states * feeds[MASK][:, :, None] for states in (wanted, found))
        difference = float(np.abs(found - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
        if not difference <= MAX_DIFFERENCE:
            raise ModelError(
                f"The graph that torch has exported gives other numbers than torch for rows of {lengths} tokens (by "
                f"{difference:.2g}): export the model by another tool, to onnx/model.onnx."
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:300] or type(error).__name__
