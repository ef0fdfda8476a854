"""The models on this machine: one folder for each, with a manifest for every variant.

The registry that machines share, of which the documentation speaks, is `releases/registry/store.ReleaseStore`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ModelError, UnknownModel, UsageError
from ..graphs.devices import CPU, PREFERRED
from ..home import home_folder, make_folder
from ..locks import lock_when_free
from .catalogue import PUBLISHED
from .files import sha256_of
from .manifest import Manifest, read_manifest
from .progress import Progress

PRECISIONS = ("fp32", "fp16", "int8", "int4", "mixed", "dynamic")
LONGEST_NAME = 100
"""Characters: it is the name of a folder, which may have 255 bytes."""
BASE_NAME = re.compile(r"[a-z0-9][a-z0-9._]*(-[a-z0-9._]+)*")


def split_name(name: str) -> tuple[str, str | None]:
    """``minilm-int8`` → (``minilm``, ``int8``); ``minilm`` → (``minilm``, None). Raises UsageError."""
    if len(name) > LONGEST_NAME or not BASE_NAME.fullmatch(name):
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} is not a model name: use lower-case letters, digits, dots and single hyphens, "
            f"{LONGEST_NAME} characters at most."
        )
    base, _, precision = name.rpartition("-")
    return (base, precision) if base and precision in PRECISIONS else (name, None)


class ModelRegistry:
    """Finds and verifies the models below ``root``.

    Args:
        provider: the one that is to run them, as the settings say.
        judged: variants whose gate is closed are refused. False is for those who look at them and do not serve them.
    """

    def __init__(self, root: Path | None = None, provider: str | None = None, *, judged: bool = True) -> None:
        self.root = (root or home_folder()) / "models"
        self.judged = judged
        self._preferred = PREFERRED.get(provider or CPU, PREFERRED[CPU])

    def folder(self, base: str) -> Path:
        """The folder with all files of a model and its variants."""
        return self.root / base

    def manifest_path(self, base: str, precision: str) -> Path:
        return self.folder(base) / f"{precision}.json"

    def setting_file(self, task: str, setting: str) -> Path | None:
        """The file that a release brings instead of the one that a setting of the task names; None in other homes."""
        return next(iter(sorted((self.root.parent / "settings" / task).glob(f"{setting}.*"))), None)

    def load(self, name: str, kind: str | None = None, use: str = "") -> Manifest:
        """The verified manifest of a variant; a base name means its smallest variant: int4 where there is one,
        else int8; for a GPU fp16, else fp32. ``use``: what for, as the judgements on it say.

        Raises UnknownModel for an unknown name, UsageError for a model of another ``kind``, ModelError if
        files are missing or damaged, or if its gate is closed.
        """
        base, precision = split_name(name)
        there = [name for name in self._preferred if self.manifest_path(base, name).exists()]
        path = self.manifest_path(base, precision or next(iter(there), self._preferred[-1]))
        if not path.exists():
            raise self._absent(name, base)
        manifest = read_manifest(path)
        if kind is not None and manifest.kind != kind:
            raise UsageError(f"{name} is a {manifest.kind}, and a {kind} is needed here.")
        if self.judged:
            manifest.check_gates(use)
        self.verify(manifest)
        return manifest

    def verify(self, manifest: Manifest) -> None:
        """Raise ModelError unless all files of a variant exist and have the digests of the manifest."""
        base, _ = split_name(manifest.name)
        for path, digest in manifest.digests.items():
            if not Path(path).exists() or sha256_of(Path(path)) != digest:
                raise ModelError(
                    f"{path} is absent or damaged; run `inferstream models pull {base}` to restore it."
                )

    def check_kind(self, base: str, kind: str) -> None:
        """Raise UsageError if a model of another kind has the name: making one would delete it."""
        for manifest in self.list():
            if split_name(manifest.name)[0] == base and manifest.kind != kind:
                raise UsageError(
                    f"{base} is the name of a {manifest.kind} here; give the {kind} another name, or delete the "
                    f"folder {self.folder(base)}."
                )

    def list(self) -> list[Manifest]:
        """The manifests of all variants, sorted by path; damaged ones are left out."""
        return [manifest for path in sorted(self.root.glob("*/*.json")) if (manifest := self._try(path))]

    def _try(self, path: Path) -> Manifest | None:
        if path.stem not in PRECISIONS:
            return None
        try:
            return read_manifest(path)
        except ModelError:
            return None

    def _absent(self, name: str, base: str) -> ModelError | UnknownModel:
        if base in PUBLISHED:
            return ModelError(
                f"The model {name} is not on this machine; run `inferstream models pull {base}`."
            )
        known = ", ".join(sorted({manifest.name for manifest in self.list()} | set(PUBLISHED)))
        return UnknownModel(f"There is no model {name!r}; known models: {known}.")

    @contextmanager
    def lock(self, base: str, progress: Progress) -> Iterator[None]:
        """Lock a model's folder; waits for a pull in another process. The lock ends with its process."""
        make_folder(self.folder(base))
        with (self.root / f"{base}.lock").open("ab") as file:
            lock_when_free(file, lambda: progress("waiting for another pull of this model", 0, None))
            yield
