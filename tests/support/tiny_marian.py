"""A Marian translator of a few kilobytes with random weights, in a folder with the files of the family."""

import io
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from sentencepiece import SentencePieceTrainer

WIDTH = 64
HEADS = 2
WIDE = 96
LAYERS = 2
WORDS = 40
FIRST = 6
MAGIC = 0xF11A48D5013417F5
OPTIONS: dict[str, Any] = {
    "type": "transformer",
    "dim-emb": WIDTH,
    "transformer-dim-ffn": WIDE,
    "transformer-heads": HEADS,
    "enc-depth": LAYERS,
    "dec-depth": LAYERS,
    "dim-vocabs": [WORDS, WORDS],
    "transformer-decoder-autoreg": "rnn",
    "dec-cell": "ssru",
    "tied-embeddings-all": True,
    "transformer-ffn-activation": "relu",
    "transformer-ffn-depth": 2,
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
}
TEXT = "the parcel is late and my card does not work please help me with the order of last week thank you"

Arrays = dict[str, NDArray[np.float32]]


def write_tiny_marian(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Write weights, vocabulary, shortlist and config; returns ``folder``. ``options``: with - as _."""
    folder.mkdir(parents=True, exist_ok=True)
    given = OPTIONS | {name.replace("_", "-"): value for name, value in options.items()}
    (folder / "model.xxyy.intgemm.alphas.bin").write_bytes(model_bytes(given, tiny_arrays(given, seed)))
    (folder / "vocab.xxyy.spm").write_bytes(vocabulary_bytes())
    (folder / "lex.50.50.xxyy.s2t.bin").write_bytes(shortlist_bytes(seed))
    (folder / "config.tiny.yml").write_text("beam-size: 1\nmax-length-factor: 2.5\n")
    return folder


def tiny_arrays(options: dict[str, Any], seed: int = 0) -> Arrays:
    """Random arrays of a model in float32, by name; linear layers as (in, out)."""
    rng = np.random.default_rng(seed)
    width, wide = options["dim-emb"], options["transformer-dim-ffn"]
    words = options["dim-vocabs"][0]

    def normal(*shape: int, std: float) -> NDArray[np.float32]:
        return rng.normal(0, std, shape).astype(np.float32)

    arrays = {"Wemb": normal(words, width, std=0.4), "decoder_ff_logit_out_b": normal(1, words, std=0.5)}
    arrays["decoder_ff_logit_out_b"][0, 0] += 0.7  # so that some translations end
    blocks = [(f"encoder_l{layer + 1}_", "self") for layer in range(options["enc-depth"])]
    blocks += [(f"decoder_l{layer + 1}_", "context") for layer in range(options["dec-depth"])]
    for prefix, attention in blocks:
        shapes = {f"{attention}_{part}": (width, width) for part in "qkvo"}
        shapes |= {"ffn_1": (width, wide), "ffn_2": (wide, width)}
        norms = [f"{attention}_Wo", "ffn_ffn"]
        if attention == "context":
            shapes |= {"rnn_": (width, width), "rnn_f": (width, width)}
            norms.append("rnn_ffn")
        for name, shape in shapes.items():
            group, _, part = name.rpartition("_")
            arrays[f"{prefix}{group}_W{part}"] = normal(*shape, std=shape[0] ** -0.5)
            if part:
                arrays[f"{prefix}{group}_b{part}"] = normal(1, shape[1], std=0.2)
        for name in norms:
            arrays[f"{prefix}{name}_ln_scale"] = 1 + normal(1, width, std=0.1)
            arrays[f"{prefix}{name}_ln_bias"] = normal(1, width, std=0.1)
    return arrays


def is_weight(name: str) -> bool:
    return name == "Wemb" or (not name.endswith(("_ln_scale", "_ln_bias")) and "_W" in name)


def quantized(array: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    multiplier = np.float32(127 / np.abs(array).max())
    return np.rint(array * multiplier).astype(np.int8), multiplier


def as_stored(arrays: Arrays) -> Arrays:
    """The arrays after a trip through the file: the weights on their 8-bit grid."""
    stored = dict(arrays)
    for name in filter(is_weight, arrays):
        values, multiplier = quantized(arrays[name])
        stored[name] = values.astype(np.float32) / multiplier
    return stored


def model_bytes(options: dict[str, Any], arrays: Arrays) -> bytes:
    """The binary model file."""
    items: list[tuple[str, int, tuple[int, ...], bytes]] = []
    for name, array in arrays.items():
        if not is_weight(name):
            items.append((name, 0x404, array.shape, array.tobytes()))
            continue
        values, multiplier = quantized(array)
        ordered = values if name == "Wemb" else values.T
        items.append((name, 0x4101, array.shape, ordered.tobytes() + multiplier.tobytes() + bytes(252)))
        layer = "none" if name == "Wemb" else name
        items.append((f"{layer}_QuantMultA", 0x404, (1, 1), np.float32(20).tobytes()))
    text = yaml.safe_dump(options).encode() + b"\0"
    items.append(("special:model.yml", 0x101, (len(text),), text))
    out = struct.pack("<QQ", 1, len(items))
    for name, kind, shape, data in items:
        out += struct.pack("<4Q", len(name) + 1, kind, len(shape), len(data))
    out += b"".join(name.encode() + b"\0" for name, *_ in items)
    out += b"".join(struct.pack(f"<{len(shape)}i", *shape) for _, _, shape, _ in items)
    return out + struct.pack("<Q", 4) + bytes(4) + b"".join(data for *_, data in items)


def shortlist_bytes(seed: int = 0, words: int = WORDS, first: int = FIRST) -> bytes:
    """A shortlist with three to nine random targets for each source token."""
    rng = np.random.default_rng(seed)
    lists = [np.sort(rng.choice(words, rng.integers(3, 10), replace=False)) for _ in range(words)]
    offsets = np.cumsum([0, *map(len, lists)]).astype("<u8")
    ids = np.concatenate(lists).astype("<u4")
    header = struct.pack("<6Q", MAGIC, 0, first, 50, len(offsets), len(ids))
    return header + offsets.tobytes() + ids.tobytes()


@cache
def vocabulary_bytes(size: int = WORDS, **settings: Any) -> bytes:
    """A vocabulary of ``size`` tokens, with the end as token 0."""
    out = io.BytesIO()
    given = {"eos_id": 0, "unk_id": 1, "bos_id": -1, "pad_id": -1} | settings
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.split() * 3 + [TEXT]),
        model_writer=out,
        vocab_size=size,
        minloglevel=2,
        **given,
    )
    return out.getvalue()
