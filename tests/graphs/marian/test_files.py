"""What a folder has, and what is refused by the name of the missing thing."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_marian import (
    FIRST,
    OPTIONS,
    WORDS,
    model_bytes,
    shortlist_bytes,
    tiny_arrays,
    write_tiny_marian,
)

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.graphs.marian.folder import find_files
from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.graphs.marian.weights import MarianModel, read_model

MODEL = "model.xxyy.intgemm.alphas.bin"
SHORTLIST = "lex.50.50.xxyy.s2t.bin"


def read(folder: Path) -> MarianModel:
    return read_model(find_files(folder))


def test_sizes_come_from_the_model(tmp_path: Path) -> None:
    config = read(write_tiny_marian(tmp_path, enc_depth=3, dim_emb=24, transformer_heads=3)).config
    assert (config.width, config.heads, config.encoder_layers) == (24, 3, 3)
    assert (config.decoder_layers, config.words, config.length_factor) == (2, WORDS, 2.5)


def test_without_a_config_the_length_factor_is_that_of_marian(tmp_path: Path) -> None:
    write_tiny_marian(tmp_path)
    (tmp_path / "config.tiny.yml").unlink()
    assert read(tmp_path).config.length_factor == 3.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("type", "s2s"),
        ("dec_cell", "gru"),
        ("transformer_decoder_autoreg", "self-attention"),
        ("tied_embeddings_all", False),
        ("transformer_ffn_activation", "swish"),
        ("transformer_ffn_depth", 3),
        ("transformer_preprocess", "n"),
        ("transformer_postprocess", "da"),
        ("transformer_train_position_embeddings", True),
        ("lemma_dim_emb", 8),
        ("dim_vocabs", [WORDS, WORDS - 1]),
        ("dim_emb", "wide"),
        ("transformer_heads", 5),
        ("enc_depth", 0),
    ],
)
def test_an_option_that_is_not_supported_is_named(tmp_path: Path, option: str, value: Any) -> None:
    options = OPTIONS | {option.replace("_", "-"): value}
    write_tiny_marian(tmp_path)
    (tmp_path / MODEL).write_bytes(model_bytes(options, tiny_arrays(OPTIONS)))
    named = "encoder_layers" if option == "enc_depth" else option.replace("_", "[-_]")
    with pytest.raises(UsageError, match=named):
        read(tmp_path)


def test_an_option_that_is_absent_is_named(tmp_path: Path) -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "dec-cell"}
    write_tiny_marian(tmp_path)
    (tmp_path / MODEL).write_bytes(model_bytes(options, tiny_arrays(OPTIONS)))
    with pytest.raises(UsageError, match="dec-cell = None; only 'ssru'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "found"),
    [(MODEL, "no weights"), (SHORTLIST, "no shortlist"), ("vocab.xxyy.spm", "no vocabulary")],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str, found: str) -> None:
    write_tiny_marian(tmp_path)
    (tmp_path / name).rename(tmp_path / f"{name}.gz")
    with pytest.raises(UsageError, match=rf"{found}.*{name}\.gz has another format"):
        find_files(tmp_path)


def test_two_files_of_a_kind_are_named(tmp_path: Path) -> None:
    write_tiny_marian(tmp_path)
    (tmp_path / "vocab.trg.spm").write_bytes(b"")
    with pytest.raises(UsageError, match=r"vocab\.trg\.spm and vocab\.xxyy\.spm"):
        find_files(tmp_path)


def test_a_beam_is_refused(tmp_path: Path) -> None:
    (write_tiny_marian(tmp_path) / "config.tiny.yml").write_text("beam-size: 4\n")
    with pytest.raises(UsageError, match="beam-size = 4"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"decoder_l1_rnn_bf": None}, "lacks the array 'decoder_l1_rnn_bf'"),
        ({"encoder_l1_ffn_W2": None}, "lacks the 8-bit array 'encoder_l1_ffn_W2'"),
        ({"encoder_l3_self_bq": np.zeros((1, 4), np.float32)}, "does not ask for: encoder_l3_self_bq"),
        ({"encoder_l1_self_bq": np.zeros((1, 4), np.float32)}, r"encoder_l1_self_bq of the shape \(1, 4\)"),
        ({"encoder_l1_ffn_b2": np.full((1, 64), np.nan, np.float32)}, "not finite"),
    ],
)
def test_an_array_that_does_not_fit_is_named(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    arrays = {name: array for name, array in (tiny_arrays(OPTIONS) | changed).items() if array is not None}
    (write_tiny_marian(tmp_path) / MODEL).write_bytes(model_bytes(OPTIONS, arrays))
    with pytest.raises(ModelError, match=sentence):
        read(tmp_path)


@pytest.mark.parametrize("name", [MODEL, SHORTLIST])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content = (write_tiny_marian(tmp_path) / name).read_bytes()
    rng = np.random.default_rng(0)
    cuts = [0, 7, 40, *rng.integers(0, len(content), 40).tolist(), len(content) - 1]
    for damaged in [content[:cut] for cut in cuts] + [b"", bytes(100), b"\xff" * 100]:
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ModelError, match=name) as refused:
            read(tmp_path)
        assert "unpack" not in str(refused.value)


def test_a_shortlist_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    (write_tiny_marian(tmp_path) / SHORTLIST).write_bytes(shortlist_bytes(words=WORDS + 1))
    with pytest.raises(ModelError, match=f"knows {WORDS + 1} source tokens"):
        read(tmp_path)


def test_the_choices_are_filled_up_as_in_marian(tmp_path: Path) -> None:
    shortlist = Shortlist(write_tiny_marian(tmp_path) / SHORTLIST)
    content = shortlist_bytes()
    (_, _, _, _, offsets, ids) = struct.unpack_from("<6Q", content)
    starts = np.frombuffer(content, "<u8", offsets, 48)
    targets = np.frombuffer(content, "<u4", ids, 48 + 8 * offsets)
    for source in ([0], [3, 0], [5, 9, 5, 0], [*range(1, 12), 0]):
        found = shortlist.candidates(source)
        listed = {*range(FIRST)}
        for token in source:
            listed |= set(targets[int(starts[token]) : int(starts[token + 1])].tolist())
        following = [token for token in range(FIRST, WORDS) if token not in listed]
        assert sorted(listed | set(following[: -len(listed) % 8])) == found.tolist()
