"""The peers: which of them an environment has, and how they are started."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...errors import InferstreamError, UsageError
from ...kafka_local.ports import free_ports
from ...models.manifest import Manifest
from ..bench.processes import SystemProcess
from .listening import Listening, ListeningProcess, LlamaCppSystem, StampingSystem
from .measured_core import MeasuredCore

LLAMA_CPP: Final = "llama.cpp"
Q4_0: Final = "llama.cpp, Q4_0"
Q4_0_SMALL: Final = "llama.cpp, Q4_0, -b 64"
Q4_1: Final = "llama.cpp, Q4_1"
OPENVINO: Final = "OpenVINO GenAI"
PROGRAMS: Final = Path(__file__).parent / "peers_programs"
LARGE: Final = 2048
SMALL: Final = 64
PACKAGES: Final = {
    LLAMA_CPP: ("xllamacpp", "gguf"),
    OPENVINO: ("openvino_genai", "openvino_tokenizers"),
}
IMPORT_S: Final = 60.0


class PeersPlan(Struct, frozen=True):
    """``python``: the interpreter of an environment with the peers. ``rows``: how many streams each serves at once."""

    python: str
    file: Path
    rows: int


def weights_of(manifest: Manifest) -> Path:
    """The GGUF file that a model was made of. Raises UsageError."""
    file = next(Path(manifest.graph_path).parent.glob("*.gguf"), None)
    if file is None:
        raise UsageError(
            f"{manifest.name} was not made of a GGUF file, which the peers need: leave --peers out."
        )
    return file


def absent_peers(python: str) -> dict[str, str]:
    """A sentence for each peer that this interpreter cannot import. Raises UsageError if it cannot be started."""
    return {
        name: _absent(python, name, modules)
        for name, modules in PACKAGES.items()
        if not _has(python, modules)
    }


def _absent(python: str, name: str, modules: Sequence[str]) -> str:
    return f"{name} is left out: {python} has no {' and '.join(modules)} (pip install {' '.join(modules)})."


def _has(python: str, modules: Sequence[str]) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", f"import {', '.join(modules)}"], capture_output=True, check=False, timeout=IMPORT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{python} cannot be started: give the Python of an environment ({error})."
        ) from error
    return done.returncode == 0


class Peers:
    """Starts the peers that the environment has."""

    def __init__(
        self, plan: PeersPlan, folder: Path, core: MeasuredCore, started: list[SystemProcess]
    ) -> None:
        """``folder``: for logs, and for the copy of the weights; ``started`` gets the processes."""
        self._plan = plan
        self._folder = folder
        self._core = core
        self._started = started

    async def start(self) -> dict[str, Listening]:
        """The systems by name, one after the other: each has the machine while it loads. Raises InferstreamError."""
        found: dict[str, Listening] = {}
        python, file, rows = self._plan.python, str(self._plan.file), str(self._plan.rows)
        if _has(python, PACKAGES[LLAMA_CPP]):
            rounded = self._rounded()
            for name, path, batch in (
                (Q4_0, rounded, LARGE),
                (Q4_0_SMALL, rounded, SMALL),
                (Q4_1, file, LARGE),
            ):
                port = free_ports(1)[0]
                program = [python, str(PROGRAMS / "llama_cpp_server.py"), path, str(port), rows, str(batch)]
                process = self._begin(name, program, port)
                found[name] = LlamaCppSystem(process.process, await process.ready())
                found[name].pause()
        if _has(python, PACKAGES[OPENVINO]):
            process = self._begin(
                OPENVINO, [python, str(PROGRAMS / "openvino_server.py"), file, rows, str(SMALL)]
            )
            found[OPENVINO] = StampingSystem(process.process, await process.ready())
            found[OPENVINO].pause()
        return found

    def _begin(self, name: str, program: Sequence[str], port: int | None = None) -> ListeningProcess:
        with self._core.starting():
            process = ListeningProcess(program, self._folder / f"{name}.log", port)
        self._started.append(process.process)
        return process

    def _rounded(self) -> str:
        copy = str(self._folder / "q4_0.gguf")
        program = [self._plan.python, str(PROGRAMS / "q4_0_copy.py"), str(self._plan.file), copy]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InferstreamError(f"The weights cannot be rounded: {done.stderr.strip().splitlines()[-1]}")
        return copy
