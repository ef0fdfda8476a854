"""Translators that tests run: built from a folder, also with the scores of every step as a further output."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.graphs.marian.folder import find_files
from inferstream.pipeline.graphs.marian.int8 import Int8Layers
from inferstream.pipeline.graphs.marian.layers import Layers
from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.graphs.marian.translator import MarianTranslator
from inferstream.pipeline.graphs.marian.weights import read_model
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.translator import SourceRow, Translator

LAYERS: dict[str, type[Layers]] = {"fp32": Layers, "int8": Int8Layers}


class Traced(NamedTuple):
    """What one row of a batch gave, bit for bit."""

    tokens: list[int]
    ended: bool
    scores: list[bytes]  # of its own choices, for each of its steps


class TracedTranslator:
    """Runs a graph and returns all scores that decided a translation."""

    def __init__(self, graph: onnx.ModelProto, path: Path, shortlist: Shortlist) -> None:
        _with_scores(graph)
        write_model(graph, path)
        self._session = Session(path, provider="cpu")
        self._shortlist = shortlist
        self._translator = Translator(self._session, shortlist)

    def run(self, rows: Sequence[SourceRow]) -> list[Traced]:
        ids, ended, rest, first = self._session.run(self._translator.feeds(rows))
        # The shape of nothing is unknown where the first step was the last one of all rows.
        scores = np.concatenate([first[None], rest] if len(rest) else [first[None]])
        traced = []
        for index, row in enumerate(rows):
            tokens = ids[index][: np.count_nonzero(ids[index])].tolist()
            steps = len(tokens) + int(ended[index])
            own = len(self._shortlist.candidates(row.tokens))
            bits = [step.tobytes() for step in scores[:steps, index, :own]]
            traced.append(Traced(tokens, bool(ended[index]), bits))
        return traced


def graph_of(folder: Path, precision: str, max_tokens: int = 64) -> onnx.ModelProto:
    """The graph of the model in ``folder``."""
    return MarianTranslator(LAYERS[precision](read_model(find_files(folder))), max_tokens).model()


def shortlist_of(folder: Path) -> Shortlist:
    return Shortlist(find_files(folder).shortlist)


def _with_scores(graph: onnx.ModelProto) -> None:
    """Make the scores of the first step and of those in the loop outputs of the graph."""
    loop = next(node for node in graph.graph.node if node.op_type == "Loop")
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    body.node.append(helper.make_node("Identity", [_scores(body)], ["step/scores"]))
    body.output.append(helper.make_tensor_value_info("step/scores", TensorProto.FLOAT, None))
    loop.output.append("scores")
    for name in ("scores", _scores(graph.graph)):
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _scores(graph: onnx.GraphProto) -> str:
    return str(next(node for node in graph.node if node.op_type == "ArgMax").input[0])
