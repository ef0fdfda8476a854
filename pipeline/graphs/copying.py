"""A graph that copies memory on a device to other memory there, which ONNX Runtime offers in no other way."""

from .builder import GraphBuilder


def copying_graph(parts: int, kind: str) -> bytes:
    """``parts`` vectors ``from_N`` are copied to ``to_N``; all have the same length. ``kind``: of their elements."""
    graph = GraphBuilder("copies")
    for number in range(parts):
        graph.input(f"from_{number}", kind, ("elements",))
        graph.add("Identity", f"from_{number}", output=f"to_{number}")
        graph.output(f"to_{number}", kind, ("elements",))
    content: bytes = graph.model({}).SerializeToString()
    return content
