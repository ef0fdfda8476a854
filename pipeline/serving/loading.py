"""Loads the models of tasks onto devices. All that is on one graph shares its session, its lanes and its batches."""

import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..config import Config
from ..engine.batcher import Batcher
from ..engine.batching import Limits
from ..engine.cost import Cost
from ..engine.crash_note import CrashNote
from ..engine.device import Device
from ..engine.lanes import LaneSettings
from ..engine.model_entry import ModelEntry
from ..engine.no_rows import device_without_rows
from ..errors import ModelError
from ..graphs.devices import ANY
from ..graphs.sound_arrays import array_of_no_numbers
from ..home import home_folder
from ..models.manifest import ENCODER, Manifest
from ..models.registry import ModelRegistry, split_name
from ..models.releases.release import Release
from ..runtime.freed_memory import give_back_memory
from ..runtime.graph import Graph, NoGraph
from ..runtime.model import RUN
from ..runtime.providers import default_lanes
from ..runtime.sessions import Session
from ..tasks.definition import Loaded, TaskDefinition
from ..tasks.loading import loaded_model, made_model, made_task
from ..telemetry import WorkerMetrics

DeviceKey = tuple[bytes, int, Any]
"""Of a graph, its padding, and what runs it."""


class OnDevice(NamedTuple):
    """A graph on its device."""

    session: Session | None  # None: the models need no graph
    device: Device


class ModelLoader:
    """Loads models for one process.

    Args:
        batcher: how waiting rows become batches.
        graph_of: what the lanes run instead of the session.
    """

    def __init__(
        self,
        config: Config,
        metrics: WorkerMetrics,
        batcher: type[Batcher] = Batcher,
        graph_of: Callable[[Session], Graph] = lambda session: session,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._batcher = batcher
        self._graph_of = graph_of
        self.registry = ModelRegistry(provider=config.engine.provider)
        self._devices: dict[DeviceKey, OnDevice] = {}

    def entries(self, definition: TaskDefinition, names: Sequence[str] = ()) -> dict[str, ModelEntry]:
        """The models of a task by name; those of its settings if there are no ``names``.

        The name of an encoder without a precision means its int8 variant, here as in a pull: the two
        names are one entry. Raises UnknownModel, ModelError, ProviderUnavailable, UsageError.
        """
        settings: Any = self._config.of_task(definition.name, definition.settings)
        entries: dict[str, ModelEntry] = {}
        for name in names or [settings.model, *getattr(settings, "models", ())]:
            loaded = loaded_model(definition, self.registry, name, settings)
            entries[name] = self._entry(definition, loaded)
            for same in _other_names(name, loaded.manifest) if loaded.manifest else ():
                entries.setdefault(same, entries[name])
        return entries

    def released(self, definition: TaskDefinition, release: Release, folder: Path) -> ModelEntry:
        """The model of a release that is laid out in this folder. Raises what `entries` raises."""
        settings: Any = self._config.of_task(definition.name, definition.settings)
        # The judgement on a release was checked when it was laid out; the models in one that was forced may be closed.
        forced = release.gate is not None and release.gate.forced
        registry = ModelRegistry(folder, provider=self._config.engine.provider, judged=not forced)
        loaded = loaded_model(definition, registry, release.name, settings)
        if loaded.manifest is not None:
            _check_arrays(loaded.manifest)
        entry = self._entry(definition, loaded)
        session = self._session_of(entry)
        if loaded.manifest is not None and session is not None:
            _check_dimensions(loaded.manifest, session)
        return entry._replace(release=release.version)

    def provider_of(self, entry: ModelEntry) -> str | None:
        """What runs its graph; None if it has none."""
        session = self._session_of(entry)
        return session.provider if session else None

    def _session_of(self, entry: ModelEntry) -> Session | None:
        return next((one.session for one in self._devices.values() if one.device is entry.device), None)

    def forget(self, running: Container[Device]) -> None:
        """Free what no engine runs: models that were refused, and those that an engine has stopped."""
        for key, on_device in list(self._devices.items()):
            if on_device.device not in running:
                del self._devices[key]
                on_device.device.stop()
                del on_device
                give_back_memory()

    def _entry(self, definition: TaskDefinition, loaded: Loaded) -> ModelEntry:
        if loaded.manifest is None:
            session, device = self._without_graph()
        else:
            session, device = self._on_device(loaded.manifest, loaded, definition.name)
        task = made_task(definition.name, loaded, session or NoGraph())
        self._metrics.include(task)
        if loaded.manifest is not None:
            device.learn(loaded.manifest.max_tokens)
        return ModelEntry(task, device)

    def _has(self, key: DeviceKey) -> bool:
        """Whether there is a device for it that stays."""
        return key in self._devices and not self._devices[key].device.is_ending

    def _without_graph(self) -> OnDevice:
        """What all models without a graph share."""
        key = (b"", 0, None)
        if not self._has(key):
            self._devices[key] = OnDevice(None, device_without_rows())
        return self._devices[key]

    def _on_device(self, manifest: Manifest, loaded: Loaded, task: str) -> OnDevice:
        # By its content: releases that differ in other things share a session. A digest does not cover the padding.
        key = (manifest.digest, manifest.pad_id, loaded.model)
        if not self._has(key):
            self._devices[key] = self._open(manifest, loaded, task)
        return self._devices[key]

    def _open(self, manifest: Manifest, loaded: Loaded, task: str) -> OnDevice:
        engine = self._config.engine
        session = Session(manifest.graph_path, provider=engine.provider, made_for=manifest.device or ANY)
        graph = self._graph_of(session)
        model = made_model(task, loaded, graph)
        own = f"-{task}" if loaded.model else ""  # a model of its own has costs of its own
        costs = home_folder() / "costs"
        settings = LaneSettings(
            engine.lanes or default_lanes(session.provider),
            clock=time.monotonic,
            # A lane's own CPU time is the cost of a shape even while other processes share the core.
            stopwatch=time.thread_time if session.provider == "cpu" else time.monotonic,
            run_timeout_s=engine.run_timeout_s,
        )
        device = Device(
            model,
            Limits(engine.token_budget or _token_budget(session.provider), engine.max_rows),
            {
                phase: Cost.load(costs / f"{manifest.version}-{session.provider}{own}{_of_phase(phase)}.json")
                for phase in model.phases
            },
            settings,
            # By its content: a candidate is not blamed for a stable version of the same name, nor that for it.
            note=CrashNote(
                home_folder() / "crashes" / f"{manifest.name}-{manifest.version}{own}", settings.lanes
            ),
            batcher=self._batcher,
        )
        device.on_batch = lambda stats: self._metrics.ran(*stats[:-1])
        return OnDevice(session, device)


def _check_arrays(manifest: Manifest) -> None:
    """Raise ModelError for a graph with an array that holds no numbers."""
    try:
        name = array_of_no_numbers(Path(manifest.graph_path))
    except (OSError, ValueError, KeyError, RecursionError) as error:  # of a file that is no graph
        raise ModelError(f"The graph of {manifest.name} cannot be read ({error}).") from error
    if name is not None:
        raise ModelError(
            f"The graph of {manifest.name} is broken: its array {name!r} holds no numbers (NaN)."
        )


def _check_dimensions(manifest: Manifest, session: Session) -> None:
    """Raise ModelError for an encoder whose vectors are not as long as its manifest says."""
    made = next(iter(session.output_shapes.values()))[-1]
    if manifest.kind == ENCODER and made != manifest.dimensions:
        raise ModelError(
            f"The graph of {manifest.name} makes vectors of {made} dimensions, and its manifest says "
            f"{manifest.dimensions}."
        )


def _other_names(name: str, manifest: Manifest) -> list[str]:
    """``minilm-int8`` for ``minilm``, or whatever variant that is here, and ``minilm`` for ``minilm-int8``; none for a
    fitted model.
    """
    base, precision = split_name(manifest.name)
    if name == base:
        return [manifest.name]
    return [base] if precision == "int8" and name == manifest.name else []


def _of_phase(phase: str) -> str:
    """The part of a file name for a phase; none for the only phase of a model with one step."""
    return "" if phase == RUN else f"-{phase}"


def _token_budget(provider: str) -> int:
    """On a CPU a batch that outgrows the caches costs more for each token; a GPU wants large ones."""
    return 1_024 if provider == "cpu" else 16_384
