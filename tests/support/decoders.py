"""Decoders that tests run: built from any files, and driven without an engine."""

from collections.abc import Sequence
from pathlib import Path

from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.graphs.llama.config import DecoderModel
from inferstream.pipeline.graphs.llama.decoder import LlamaDecoder
from inferstream.pipeline.graphs.tensor_file import TensorFile
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow, Generation
from inferstream.pipeline.runtime.generator import Generator
from inferstream.pipeline.runtime.model import Last, More
from inferstream.pipeline.runtime.sessions import Session


def session_of(model: DecoderModel, precision: str, folder: Path, provider: str = "cpu") -> Session:
    """A session with the graph of ``model``, which is written into ``folder``."""
    tensors = TensorFile(folder / f"{precision}.data")
    decoder = LlamaDecoder(model, precision, tensors)
    decoder.add_all()
    tensors.finish()
    path = folder / f"{precision}.onnx"
    write_model(decoder.model(f"{precision}.data"), path)
    return Session(path, provider=provider)


def generate(generator: Generator, rows: Sequence[GeneratedRow]) -> list[Generation]:
    """The outputs of the rows, all together; a step of each phase in turn. Checks that the pieces are the text."""
    live = list(rows)
    outputs: dict[int, Generation] = {}
    pieces = {id(row): [*row.generated] if row.generated else [*row.forced] for row in rows}
    while live:
        for phase in (PREFILL, DECODE):
            batch = [row for row in live if row.phase == phase]
            for row, result in zip(batch, generator.step(batch) if batch else (), strict=True):
                assert isinstance(result, More | Last)
                pieces[id(row)] += result.pieces
                if isinstance(result, Last):
                    outputs[id(row)] = result.output
                    live.remove(row)
    assert all(outputs[id(row)].tokens == pieces[id(row)] for row in rows)
    return [outputs[id(row)] for row in rows]
