"""Models that bring their graph: checked, served as encoders and classifiers; in int8 the same in any company."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from support.tiny_families import BATCHES, LABELS, token_rows, write_tiny
from support.tiny_imported import ALL_KINDS, GRAPHS, KINDS, file_of, write_imported, write_small_files

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.manifest import CLASSIFIER, ENCODER, Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.imported import torch_export
from inferstream.pipeline.optimize.pull.imported.variants import ImportedVariantBuilder
from inferstream.pipeline.optimize.pull.plans import GRAPH, folder_plan
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.runtime.sessions import Session

REFERENCES: dict[str, Any] = json.loads((GRAPHS / "references.json").read_text())
Change = Callable[[onnx.ModelProto], None]


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def run(manifest: Manifest, rows: list[list[int]]) -> np.ndarray:
    return Session(manifest.graph_path, provider="cpu").run(collate(rows, 1))[0]


def compare(manifest: Manifest, expected: list[Any]) -> None:
    for lengths, wanted in zip(BATCHES, expected, strict=True):
        np.testing.assert_allclose(run(manifest, token_rows(lengths)), wanted, atol=1e-5)


def fp32(folder: Path) -> Manifest:
    """The float32 variant alone of the model in a folder."""
    plan = folder_plan("mine", folder)
    return ImportedVariantBuilder(folder, plan, folder / plan.weights, quiet).fp32("here")


@pytest.mark.parametrize(("name", "classifier"), KINDS)
def test_a_graph_that_is_brought_gives_the_numbers_of_the_reference(
    name: str, classifier: bool, tmp_path: Path
) -> None:
    folder = write_imported(tmp_path / "hub", name, classifier=classifier)
    registry = ModelRegistry(tmp_path / "home")
    before, after = pull(registry, "mine", quiet, folder=folder)
    compare(before, REFERENCES[file_of(name, classifier)])
    assert (before.graph_from, before.kind) == (GRAPH, CLASSIFIER if classifier else ENCODER)
    assert before.labels == (tuple(LABELS.values()) if classifier else ())
    assert after.independence is not None
    assert after.independence.labels_changed == 0
    assert after.independence.largest_difference < 1e-5
    if classifier:
        assert after.score_agreement is not None
        assert after.score_agreement.label > 0.95
    else:
        assert after.agreement is not None
        assert after.agreement.cosine_mean > 0.999
    small, large = (Path(one.graph_path).stat().st_size for one in (after, before))
    assert small < large
    products = {node.op_type for node in onnx.load(after.graph_path).graph.node}
    assert "MatMulIntegerToFloat" in products
    assert "DynamicQuantizeLinear" not in products
    assert pull(registry, "mine", quiet, folder=folder) == [before, after], "a second pull does nothing"
    names = {path.name for path in registry.folder("mine").iterdir()}
    assert {"onnx", "config.json", "tokenizer.json"} <= names
    assert not [one for one in names if one.endswith(".part")]


def changed(folder: Path, change: Change, name: str = "nomic_bert", classifier: bool = False) -> Path:
    write_imported(folder, name, classifier=classifier)
    model = onnx.load(folder / GRAPH)
    change(model)
    onnx.save(model, folder / GRAPH)
    return folder


def with_int32(model: onnx.ModelProto) -> None:
    """The inputs are int32, as some tools write them; inside they are int64."""
    for one in model.graph.input:
        one.type.tensor_type.elem_type = TensorProto.INT32
        for node in model.graph.node:
            node.input[:] = [f"{name}.wide" if name == one.name else name for name in node.input]
    casts = [
        helper.make_node("Cast", [one.name], [f"{one.name}.wide"], to=TensorProto.INT64)
        for one in model.graph.input
    ]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def with_types(model: onnx.ModelProto) -> None:
    """A third input that is added to the tokens: all 0, or else nothing would be equal."""
    model.graph.input.append(
        helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["rows", "length"])
    )
    for node in model.graph.node:
        node.input[:] = ["sum" if name == "input_ids" else name for name in node.input]
    nodes = [helper.make_node("Add", ["input_ids", "token_type_ids"], ["sum"]), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@pytest.mark.parametrize("change", [with_int32, with_types])
def test_inputs_of_other_kinds_become_ours(change: Change, tmp_path: Path) -> None:
    compare(fp32(changed(tmp_path, change)), REFERENCES["nomic_bert.onnx"])


def test_vectors_that_the_graph_pools_itself_are_taken(tmp_path: Path) -> None:
    def pooled(model: onnx.ModelProto) -> None:
        (states,) = model.graph.output
        axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
        model.graph.initializer.append(axes)
        model.graph.node.append(
            helper.make_node("ReduceMax", [states.name], ["sentence_embedding"], axes=[1], keepdims=0)
        )
        del model.graph.output[:]
        model.graph.output.append(
            helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["rows", 32])
        )

    with pytest.raises(ModelError, match="gives other numbers for a row beside longer ones"):
        fp32(changed(tmp_path / "a", pooled))  # the largest of all tokens, of padding too

    def first(model: onnx.ModelProto) -> None:
        pooled(model)
        model.graph.node.pop()
        (states,) = [n for node in model.graph.node for n in node.output if n == "last_hidden_state"]
        model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "zero"))
        model.graph.node.append(helper.make_node("Gather", [states, "zero"], ["sentence_embedding"], axis=1))

    found = fp32(changed(tmp_path / "b", first))
    plan = folder_plan("cls", write_imported(tmp_path / "c", "nomic_bert"))
    assert plan.pooling == "mean"
    rows = token_rows([5, 9])
    (tmp_path / "c" / "1_Pooling").mkdir()
    settings = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "c" / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    np.testing.assert_allclose(run(found, rows), run(fp32(tmp_path / "c"), rows), atol=1e-6)


def rename_output(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["y" if name == model.graph.output[0].name else name for name in node.output]
    model.graph.output[0].name = "y"


def operator(kind: str, domain: str = "") -> Change:
    def add(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(kind, ["input_ids"], ["more"], domain=domain))

    return add


def fixed_rows(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def more_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["r", "l"]))


def no_mask(model: onnx.ModelProto) -> None:
    mask = next(one for one in model.graph.input if one.name == "attention_mask")
    model.graph.input.remove(mask)
    model.graph.node.insert(0, helper.make_node("Identity", ["input_ids"], ["attention_mask"]))


def a_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("mine", "F", ["x"], ["y"], body, model.opset_import))


def a_broken_edge(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[0] = "nothing-like-it"


def not_finite(model: onnx.ModelProto) -> None:
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, np.float32).tobytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            rename_output,
            "has the outputs y; last_hidden_state or token_embeddings or sentence_embedding is needed",
        ),
        (operator("Mine", "com.stranger"), "the operator Mine of 'com.stranger'"),
        (operator("Loop"), "the operator Loop, which no encoder of texts needs"),
        (operator("EPContext", "com.microsoft"), "the operator EPContext"),
        (
            fixed_rows,
            "the input input_ids; only input_ids, attention_mask and token_type_ids of integers, with any",
        ),
        (more_inputs, "the input position_ids"),
        (no_mask, "no input attention_mask"),
        (a_function, "functions of its own"),
        (a_broken_edge, "no valid ONNX graph"),
        (not_finite, "no finite numbers"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_name(change: Change, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=sentence):
        fp32(changed(tmp_path, change))


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x08\x0a" * 1_000, b"\xff" * 100])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = write_imported(tmp_path, "nomic_bert")
    (folder / GRAPH).write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        fp32(folder)


def test_a_classifier_needs_a_score_for_each_label(tmp_path: Path) -> None:
    folder = write_imported(tmp_path, "deberta-v2", classifier=True, id2label={"0": "a", "1": "b"})
    with pytest.raises(ModelError, match=r"gives 3 scores, and config\.json has 2 labels"):
        fp32(folder)


def outside(folder: Path, location: str, **changes: str) -> Path:
    """The model with its arrays in a file of this name, as its graph says."""
    write_imported(folder, "nomic_bert")
    model = onnx.load(folder / GRAPH)
    onnx.save(model, folder / GRAPH, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    model = onnx.load(folder / GRAPH, load_external_data=False)
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            for entry in tensor.external_data:
                entry.value = {"location": location, **changes}.get(entry.key, entry.value)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    return folder


def test_arrays_beside_the_graph_are_read_and_kept(tmp_path: Path) -> None:
    folder = outside(tmp_path / "hub", "model.onnx_data")
    plan = folder_plan("mine", folder)
    assert [file.name for file in plan.files][-2:] == [GRAPH, "onnx/model.onnx_data"]
    compare(fp32(folder), REFERENCES["nomic_bert.onnx"])


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/file", "missing", ".", "..", "link"])
def test_arrays_elsewhere_are_refused(location: str, tmp_path: Path) -> None:
    folder = outside(tmp_path / "hub", location)
    (tmp_path / "hub" / "secret").write_bytes(bytes(1_000_000))
    (folder / "onnx" / "link").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="which is no file beside it"):
        fp32(folder)


@pytest.mark.parametrize("changes", [{"offset": "99999999"}, {"length": "99999999999"}, {"offset": "-4"}])
def test_arrays_that_are_not_in_their_file_are_refused(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Cannot read|has no such bytes"):
        fp32(outside(tmp_path, "model.onnx_data", **changes))


def test_weights_come_before_a_graph_where_the_architecture_is_built(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, "roberta")
    (folder / "onnx").mkdir()
    (folder / GRAPH).write_bytes((GRAPHS / "nomic_bert.onnx").read_bytes())
    assert (folder_plan("mine", folder).weights, folder_plan("mine", folder).graph_from) == (
        "model.safetensors",
        "",
    )
    (folder / "model.safetensors").unlink()
    plan = folder_plan("mine", folder)
    assert (plan.weights, plan.graph_from, plan.max_tokens) == (GRAPH, GRAPH, 160)


def test_without_a_graph_the_sentence_says_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_files(tmp_path, "nomic_bert")
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr(torch_export, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"'nomic_bert'.*other models need onnx/model\.onnx, or the extra `optimize`"
    ):
        folder_plan("mine", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UsageError, match=r"pytorch_model\.bin, which can run any program when it is read"):
        folder_plan("mine", tmp_path)


@pytest.mark.optimize
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of a model's own file, when transformers imports it
@pytest.mark.parametrize(("name", "classifier"), ALL_KINDS)
def test_torch_exports_what_has_no_builder_and_no_graph(name: str, classifier: bool, tmp_path: Path) -> None:
    from optimize.pull.imported.make_graphs import save_random
    from support.torch_reference import TorchModel

    folder = tmp_path / "hub"
    write_small_files(folder, name, classifier=classifier)
    save_random(folder, classifier=classifier)
    before, after = pull(ModelRegistry(tmp_path / "home"), "mine", quiet, folder=folder)
    assert before.graph_from == after.graph_from == "torch"
    model = TorchModel(folder, classifier=classifier)
    for lengths in BATCHES:
        rows = token_rows(lengths)
        wanted = model.logits(rows) if classifier else model.means(rows)
        np.testing.assert_allclose(run(before, rows), wanted, atol=1e-5)
    assert after.independence is not None
    assert after.independence.labels_changed == 0
