"""The jars of Apache Kafka's broker: fetched once, each checked against its sha256."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from jgo.env import EnvironmentBuilder, LockFile
from jgo.maven import MavenContext, PythonResolver

from ..errors import BrokerError
from ..home import home_folder, make_folder

VERSION: Final = "4.1.2"
COORDINATES: Final = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",  # without it the broker logs nothing
)
LOCK: Final = Path(__file__).with_name("jars.lock")
DOWNLOADS: Final = 8  # at once

Progress = Callable[[int, int], None]
"""Called with the number of jars present and in total."""


class Jar(NamedTuple):
    """A line of the lock file."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    """The jars of the lock file."""
    lines = (line.split() for line in LOCK.read_text().splitlines())
    return [Jar(sha256, *coordinate.split(":")) for sha256, coordinate in lines]


def jar_folder() -> Path:
    """The folder of the jars in inferstream's home."""
    return home_folder() / "kafka" / VERSION


def class_path(folder: Path, progress: Progress | None = None) -> str:
    """The broker's class path for Java. Jars that are missing or damaged in ``folder`` are fetched.

    Raises BrokerError when a jar cannot be fetched or its sha256 differs from the lock file.
    """
    jars = locked_jars()
    make_folder(folder)
    missing = [jar for jar in jars if not _is_sound(folder / jar.filename, jar.sha256)]
    with tempfile.TemporaryDirectory(dir=folder) as part, ThreadPoolExecutor(DOWNLOADS) as pool:
        context = MavenContext(repo_cache=Path(part), local_repos=[], resolver=PythonResolver(), timeout=30)
        for done, _ in enumerate(pool.map(lambda jar: _fetch(context, jar, folder), missing), start=1):
            if progress:
                progress(len(jars) - len(missing) + done, len(jars))
    return os.pathsep.join(str(folder / jar.filename) for jar in jars)


def _fetch(context: MavenContext, jar: Jar, folder: Path) -> None:
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    try:
        part = component.artifact().resolve()
    except (OSError, RuntimeError) as error:
        raise BrokerError(
            f"Kafka's {jar.filename} cannot be fetched ({error}): check the network and try again."
        ) from error
    if not _is_sound(part, jar.sha256):
        raise BrokerError(
            f"{jar.filename} as fetched does not match the sha256 of the lock file and was discarded: try again."
        )
    part.replace(folder / jar.filename)


def _is_sound(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def write_lock() -> None:
    """Resolve Kafka's dependencies and write the lock file."""
    jars: dict[str, Jar] = {}
    with tempfile.TemporaryDirectory() as part:
        context = MavenContext(repo_cache=Path(part) / "m2", local_repos=[], resolver=PythonResolver())
        builder = EnvironmentBuilder(context=context, cache_dir=Path(part))
        for coordinate in COORDINATES:  # one at a time: together they resolve to another kafka-clients
            for found in LockFile.load(builder.from_endpoint(coordinate).lock_path).dependencies:
                assert found.sha256
                jar = Jar(found.sha256, found.groupId, found.artifactId, found.version)
                jars.setdefault(f"{jar.group}:{jar.artifact}", jar)
    lines = [f"{jar.sha256}  {name}:{jar.version}\n" for name, jar in sorted(jars.items())]
    LOCK.write_text("".join(lines))


if __name__ == "__main__":
    write_lock()
