"""`models import`: build the variants of a model in another program's format."""

import os
from pathlib import Path

import click

from ...groups import SuggestingGroup
from ...output.models import print_models
from ...output.pull_progress import pull_progress
from .shared import as_json, for_a_gpu


@click.group("import", cls=SuggestingGroup)
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
    from ....models.registry import ModelRegistry
    from ....optimize.pull.translators import import_translator

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
    from ....models.registry import ModelRegistry
    from ....optimize.pull.decoders.pulling import import_gguf

    with pull_progress() as progress:
        manifests = import_gguf(ModelRegistry(), file, progress, known_as, fp16=fp16)
    print_models(manifests, as_json)
