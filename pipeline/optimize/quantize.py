"""Smaller weights: dynamic int8 for the matrix products of a graph."""

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic


def quantize_int8(graph: Path, out: Path) -> None:
    """Write ``graph`` with signed 8-bit weights, one scale a column; activations get their scale in each run.

    Only MatMul: a quantized embedding table costs accuracy and saves no time. Signed and per channel, because
    unsigned or per-tensor weights were measurably less accurate on support tickets.
    """
    quantize_dynamic(
        graph,
        out,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT, "MatMulConstBOnly": True},
    )
