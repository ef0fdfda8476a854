"""The plan of a pull from a folder with the hub's layout."""

import json
from pathlib import Path

import pytest
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.plans import folder_plan


def pooling(folder: Path, **modes: bool) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))


def test_limits_and_pooling_are_read(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    assert (folder_plan("mine", folder).max_tokens, folder_plan("mine", folder).pooling) == (48, "mean")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4096}')
    assert folder_plan("mine", folder).max_tokens == 64  # the positions that the model has
    (folder / "sentence_bert_config.json").unlink()
    assert folder_plan("mine", folder).max_tokens == 64
    pooling(folder, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert folder_plan("mine", folder).pooling == "cls"


def test_unsupported_pooling_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    pooling(
        folder, pooling_mode_cls_token=False, pooling_mode_mean_tokens=False, pooling_mode_max_tokens=True
    )
    with pytest.raises(UsageError, match="pooling"):
        folder_plan("mine", folder)


def test_damaged_settings_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": "many"}')
    with pytest.raises(UsageError, match=r"sentence_bert_config\.json"):
        folder_plan("mine", folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    (write_tiny_model(tmp_path) / name).unlink()
    with pytest.raises(UsageError, match=f"has no {name}"):
        folder_plan("mine", tmp_path)
