"""Writes the graphs of this folder, and references.json with what torch computes for their models.

Run where torch is, from the folder of the repository:
PYTHONPATH=.:tests python tests/optimize/pull/imported/make_graphs.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from support.tiny_families import BATCHES, token_rows
from support.tiny_imported import GRAPHS, KINDS, file_of, write_small_files
from support.torch_reference import TorchModel
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from inferstream.pipeline.optimize.pull.imported.torch_export import export


def main() -> None:
    found: dict[str, Any] = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name, classifier in KINDS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_small_files(folder, name, classifier=classifier)
            save_random(folder, classifier=classifier)
            export(folder, GRAPHS / file_of(name, classifier), 160, classifier=classifier)
            strip(GRAPHS / file_of(name, classifier))
            model = TorchModel(folder, classifier=classifier)
            compute = model.logits if classifier else model.means
            found[file_of(name, classifier)] = [
                compute(token_rows(lengths)).round(6).tolist() for lengths in BATCHES
            ]
    (GRAPHS / "references.json").write_text(json.dumps(found))


def strip(path: Path) -> None:
    """Leave out where in torch each operator came from."""
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.save(graph, str(path))


def save_random(folder: Path, *, classifier: bool) -> None:
    """Save random weights for the config.json in a folder."""
    torch.manual_seed(0)
    kind: Any = AutoModelForSequenceClassification if classifier else AutoModel
    model = kind.from_config(AutoConfig.from_pretrained(str(folder)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    config = (folder / "config.json").read_bytes()
    model.save_pretrained(str(folder))
    (folder / "config.json").write_bytes(config)


if __name__ == "__main__":
    main()
