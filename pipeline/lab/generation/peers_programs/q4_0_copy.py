"""Writes a copy of a GGUF file with its matrices rounded to Q4_0: `python q4_0_copy.py FILE COPY`."""

import sys
from pathlib import Path

import gguf
from gguf.quants import dequantize, quantize


def q4_0_copy(file: Path, copy: Path) -> None:
    """Only matrices in Q4_1 change."""
    reader = gguf.GGUFReader(file)
    writer = gguf.GGUFWriter(copy, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        kind = tensor.tensor_type
        data = tensor.data
        if kind == gguf.GGMLQuantizationType.Q4_1:
            kind = gguf.GGMLQuantizationType.Q4_0
            data = quantize(dequantize(tensor.data, tensor.tensor_type), kind)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    q4_0_copy(Path(sys.argv[1]), Path(sys.argv[2]))
