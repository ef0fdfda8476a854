"""The plan of a pull from a folder with the hub's layout."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.pull.plans import folder_plan

MEAN = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def pooling(folder: Path, **modes: Any) -> None:
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 32, **modes})


def modules(folder: Path, *kinds: str) -> None:
    """A modules.json as the library writes it, and a folder with a config for each module but the first."""
    write(
        folder,
        "modules.json",
        [
            {
                "idx": number,
                "name": str(number),
                "path": f"{number}_{kind}" if number else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, kind in enumerate(kinds)
        ],
    )
    for number, kind in enumerate(kinds):
        if number:
            write(folder, f"{number}_{kind}/config.json", MEAN if kind == "Pooling" else {"in_features": 32})


def test_limits_and_pooling_are_read(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    assert (folder_plan("mine", folder).max_tokens, folder_plan("mine", folder).pooling) == (48, "mean")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4096}')
    assert folder_plan("mine", folder).max_tokens == 64  # the positions that the model has
    (folder / "sentence_bert_config.json").unlink()
    assert folder_plan("mine", folder).max_tokens == 64
    pooling(folder, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert folder_plan("mine", folder).pooling == "cls"


def test_the_limit_of_the_tokenizer_counts_where_the_encoder_has_none(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    write(folder, "tokenizer_config.json", {"model_max_length": 40, "do_lower_case": True})
    assert folder_plan("mine", folder).max_tokens == 48
    (folder / "sentence_bert_config.json").unlink()
    assert folder_plan("mine", folder).max_tokens == 40
    write(folder, "tokenizer_config.json", {"model_max_length": 1000000000000000019884624838656})
    assert folder_plan("mine", folder).max_tokens == 64


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "mean"),
        (MEAN, "mean"),
        (CLS, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({**MEAN, "pooling_mode_max_tokens": False, "include_prompt": True}, "mean"),
    ],
)
def test_both_formats_of_the_pooling_are_read(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    folder = write_tiny_model(tmp_path)
    pooling(folder, **fields)
    assert folder_plan("mine", folder).pooling == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (
            {**CLS, "pooling_mode_cls_token": False, "pooling_mode_max_tokens": True},
            "pooling_mode_max_tokens",
        ),
        ({**MEAN, "pooling_mode_cls_token": True}, "pooling_mode_cls_token"),
        ({**MEAN, "pooling_mode_max_tokens": True}, "pooling_mode_mean_tokens and pooling_mode_max_tokens"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}, "pooling_mode_lasttoken"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode_mean_tokens": False}, "none"),
        ({"pooling_mode": ["mean", "max"]}, "mean and max"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode_of_the_future": True}, "pooling_mode_of_the_future"),
        ({"word_embedding_dimension": 768}, "768 dimensions"),
    ],
)
def test_unsupported_pooling_is_refused_by_name(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    folder = write_tiny_model(tmp_path)
    pooling(folder, **fields)
    with pytest.raises(UsageError, match=named):
        folder_plan("mine", folder)


def test_the_modules_of_a_sentence_encoder_are_read(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    modules(folder, "Transformer", "Pooling", "Normalize")
    pooling(folder, **CLS)
    assert folder_plan("mine", folder).pooling == "cls"
    modules(folder, "Transformer", "Pooling")
    assert folder_plan("mine", folder).pooling == "mean"


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (("Transformer", "Pooling", "Dense"), "Dense (2_Dense)"),
        (("Transformer", "Pooling", "Dense", "Normalize"), "Dense"),
        (("Transformer", "Pooling", "LayerNorm"), "LayerNorm"),
        (("Transformer", "WeightedLayerPooling", "Pooling"), "WeightedLayerPooling"),
        (("Transformer", "Pooling", "Pooling"), "Transformer, Pooling, Pooling"),
        (("StaticEmbedding",), "StaticEmbedding"),
        (("Transformer",), "Transformer"),
        (("Transformer", "Normalize", "Pooling"), "order"),
        ((), "none"),
    ],
)
def test_modules_that_are_not_supported_are_refused_by_name(
    tmp_path: Path, kinds: tuple[str, ...], named: str
) -> None:
    folder = write_tiny_model(tmp_path)
    modules(folder, *kinds)
    with pytest.raises(UsageError) as caught:
        folder_plan("mine", folder)
    assert named in str(caught.value)
    assert "modules.json" in str(caught.value)


def test_modules_without_their_files_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    modules(folder, "Transformer", "Pooling")
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(UsageError, match=r"1_Pooling/config\.json is missing"):
        folder_plan("mine", folder)
    write(folder, "modules.json", [{"type": "a.Transformer", "path": "0_Transformer"}, {"type": "a.Pooling"}])
    with pytest.raises(UsageError, match="0_Transformer"):
        folder_plan("mine", folder)


def test_the_folder_of_a_module_is_noticed_without_a_list_of_modules(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    pooling(folder, **MEAN)
    write(folder, "2_Normalize/config.json", {})
    assert folder_plan("mine", folder).pooling == "mean"
    write(folder, "2_Dense/config.json", {"in_features": 32})
    with pytest.raises(UsageError, match="2_Dense"):
        folder_plan("mine", folder)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prompts": {"query": "query: "}, "default_prompt_name": "query"}, "'query: '"),
        ({"prompts": {}, "default_prompt_name": "query"}, "'query'"),
        ({"truncate_dim": 128}, "truncate_dim = 128"),
        ({"model_type": "SparseEncoder"}, "SparseEncoder"),
        ({"prompts": "query: "}, "does not have the hub's format"),
    ],
)
def test_settings_that_change_vectors_are_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    folder = write_tiny_model(tmp_path)
    write(folder, "config_sentence_transformers.json", settings)
    with pytest.raises(UsageError, match=named) as caught:
        folder_plan("mine", folder)
    assert "config_sentence_transformers.json" in str(caught.value)


def test_prompts_that_are_not_applied_are_told(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    assert folder_plan("mine", folder).notes == ()
    prompts = {"query": "query: ", "document": ""}
    for default in (None, "document"):
        write(
            folder,
            "config_sentence_transformers.json",
            {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "cosine"},
        )
        assert folder_plan("mine", folder).notes == (
            "The model has the prompts query; none is put before a text.",
        )


def test_an_adapter_and_case_that_the_tokenizer_keeps_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": True})
    assert folder_plan("mine", folder).max_tokens == 48, "the tokenizer makes small letters"
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write(folder, "tokenizer.json", tokenizer | {"normalizer": None})
    with pytest.raises(UsageError, match="do_lower_case"):
        folder_plan("mine", folder)
    write(folder, "adapter_config.json", {})
    with pytest.raises(UsageError, match="adapter"):
        folder_plan("mine", folder)


def test_a_tokenizer_for_another_table_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, vocab_size=50)
    with pytest.raises(UsageError, match="vocab_size = 50"):
        folder_plan("mine", folder)
    write(folder, "tokenizer.json", {"model": {"vocab": 3}})
    with pytest.raises(UsageError, match=r"tokenizer\.json is not the tokenizer of a BERT encoder"):
        folder_plan("mine", folder)


@pytest.mark.parametrize("content", ['{"max_seq_length": "many"}', "", "[]", "{"])
def test_damaged_settings_are_refused(tmp_path: Path, content: str) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "sentence_bert_config.json").write_text(content)
    with pytest.raises(UsageError, match=r"sentence_bert_config\.json"):
        folder_plan("mine", folder)


@pytest.mark.parametrize("limit", [0, -1, 3])
def test_a_limit_without_room_for_a_token_is_refused(tmp_path: Path, limit: int) -> None:
    folder = write_tiny_model(tmp_path)
    write(folder, "sentence_bert_config.json", {"max_seq_length": limit})
    with pytest.raises(UsageError, match=f"allows {limit} tokens"):
        folder_plan("mine", folder)


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 20}', "utf-8-sig")
    assert folder_plan("mine", folder).max_tokens == 20


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    (write_tiny_model(tmp_path) / name).unlink()
    with pytest.raises(UsageError, match=f"has no {name}"):
        folder_plan("mine", tmp_path)
