"""Decoders of a few kilobytes with random weights: as GGUF files, and as folders in the hub's layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WIDTH = 64
WIDE = 96
HEADS = 4
KV_HEADS = 2
HEAD_WIDTH = 16
LAYERS = 4
CONTEXT = 256
EPSILON = 1e-5
CHAT = "{% for m in messages %}<s>{{ m['role'] }}:{{ m['content'] }}</s>{% endfor %}"

Arrays = dict[str, NDArray[np.float32]]


def alphabet() -> list[str]:
    """The characters that stand for the 256 bytes."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


TOKENS = ["<unk>", "<s>", "</s>", *alphabet(), "ab", "ĠĠ", "Ġa", "abc", "<tool>"]
MERGES = ["a b", "Ġ Ġ", "Ġ a", "ab c"]
KINDS = [3, 3, 3, *[1] * 256, 1, 1, 1, 1, 4]
WORDS = len(TOKENS)

SETTINGS: dict[str, Any] = {
    "block_count": LAYERS,
    "context_length": CONTEXT,
    "embedding_length": WIDTH,
    "feed_forward_length": WIDE,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
    "attention.layer_norm_rms_epsilon": EPSILON,
    "rope.freq_base": 10_000.0,
}
TOKENIZER: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": KINDS,
    "tokenizer.ggml.merges": MERGES,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.chat_template": CHAT,
}


def tiny_tensors(
    seed: int = 0, *, biases: str = "", head: bool = False, norms: bool = False, layers: int = LAYERS
) -> Arrays:
    """Random tensors by their names in GGUF files. ``biases``: of these parts of attention, as "qkv"; "all"
    means of all layers. ``head``: one of its own. ``norms``: of queries and keys.
    """
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, std: float = 1.0) -> NDArray[np.float32]:
        return rng.normal(0, std / columns**0.5, (rows, columns)).astype(np.float32)

    def norm(size: int) -> NDArray[np.float32]:
        return (1 + rng.normal(0, 0.1, size)).astype(np.float32)

    arrays = {"token_embd.weight": matrix(WORDS, WIDTH, 4), "output_norm.weight": norm(WIDTH)}
    if head:
        arrays["output.weight"] = matrix(WORDS, WIDTH, 4)
    sizes = {"q": HEADS * HEAD_WIDTH, "k": KV_HEADS * HEAD_WIDTH, "v": KV_HEADS * HEAD_WIDTH}
    shapes = {f"attn_{part}": (size, WIDTH) for part, size in sizes.items()}
    shapes |= {"attn_output": (WIDTH, HEADS * HEAD_WIDTH), "ffn_gate": (WIDE, WIDTH), "ffn_up": (WIDE, WIDTH)}
    shapes |= {"ffn_down": (WIDTH, WIDE)}
    biased = [*shapes] if biases == "all" else [f"attn_{part}" for part in biases]
    for layer in range(layers):
        name = f"blk.{layer}."
        for part, shape in shapes.items():
            arrays[f"{name}{part}.weight"] = matrix(*shape, std=1.5)
            if part in biased:
                arrays[f"{name}{part}.bias"] = rng.normal(0, 0.3, shape[0]).astype(np.float32)
        for part in ("attn_norm", "ffn_norm"):
            arrays[f"{name}{part}.weight"] = norm(WIDTH)
        if norms:
            for part in "qk":
                arrays[f"{name}attn_{part}_norm.weight"] = norm(HEAD_WIDTH)
    return arrays


def write_tiny_gguf(
    path: Path,
    arrays: Mapping[str, NDArray[np.float32]],
    architecture: str = "llama",
    kind: str = "F32",
    **settings: Any,
) -> Arrays:
    """Write a file whose matrices are stored as ``kind``; returns the arrays as a reader gets them.

    ``settings``: of the architecture, with _ for ., or of the tokenizer by their full names; None leaves one out.
    """
    writer = gguf.GGUFWriter(path, architecture)
    given = {f"{architecture}.{name}": value for name, value in SETTINGS.items()} | TOKENIZER
    for name, value in settings.items():
        given[name if name.startswith("tokenizer.") else f"{architecture}.{name}"] = value
    for name, value in given.items():
        _add(writer, name, value)
    stored: Arrays = {}
    for name, array in arrays.items():
        quantizable = array.ndim == 2 and array.shape[1] % gguf.GGML_QUANT_SIZES[_kind(kind)][0] == 0
        own = _kind(kind) if quantizable else gguf.GGMLQuantizationType.F32
        data = quantize(array, own)
        writer.add_tensor(name, data, raw_dtype=own)
        stored[name] = dequantize(data, own).reshape(array.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


HUB_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": WIDE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": WORDS,
    "rms_norm_eps": EPSILON,
    "rope_theta": 10_000.0,
    "max_position_embeddings": CONTEXT,
    "eos_token_id": 2,
}


def write_tiny_hub(folder: Path, arrays: Mapping[str, NDArray[Any]], shards: int = 1, **config: Any) -> Path:
    """Write a folder as on the hub; a setting that is None is left out. Returns ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in (CONFIG | config).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(given))
    named = {hub_name(name): np.ascontiguousarray(array) for name, array in arrays.items()}
    if shards == 1:
        save_file(named, folder / "model.safetensors")
    else:
        where = {name: f"model-{number % shards}.safetensors" for number, name in enumerate(named)}
        for file in set(where.values()):
            save_file({name: named[name] for name in named if where[name] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    tokenizer = Tokenizer(
        models.BPE({token: n for n, token in enumerate(TOKENS)}, [(*m.split(),) for m in MERGES])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(TOKENS[:3])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": CHAT, "bos_token": "<s>", "eos_token": {"content": "</s>"}})
    )
    return folder


def hub_name(name: str) -> str:
    stem, _, end = name.rpartition(".")
    layer = stem.split(".")
    if layer[0] == "blk":
        return f"model.layers.{layer[1]}.{HUB_NAMES.get(layer[2], layer[2])}.{end}"
    return f"{HUB_NAMES[stem]}.{end}"


def _kind(name: str) -> Any:
    return gguf.GGMLQuantizationType[name]


def _add(writer: Any, name: str, value: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            writer.add_bool(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case list():
            writer.add_array(name, value)
