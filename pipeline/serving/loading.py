"""Loads the models of tasks onto devices. All that is on one graph shares its session, its lanes and its batches."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
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
from ..graphs.devices import ANY
from ..home import home_folder
from ..models.manifest import Manifest
from ..models.registry import ModelRegistry, split_name
from ..runtime.graph import Graph, NoGraph
from ..runtime.model import RUN
from ..runtime.providers import default_lanes
from ..runtime.sessions import Session
from ..tasks.definition import Loaded, TaskDefinition
from ..tasks.loading import loaded_model, made_model, made_task
from ..telemetry import WorkerMetrics


class OnDevice(NamedTuple):
    """A graph on its device."""

    session: Session
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
        self._registry = ModelRegistry(provider=config.engine.provider)
        self._devices: dict[tuple[str, Any], OnDevice] = {}

    def entries(self, definition: TaskDefinition, names: Sequence[str] = ()) -> dict[str, ModelEntry]:
        """The models of a task by name; those of its settings if there are no ``names``.

        The name of an encoder without a precision means its int8 variant, here as in a pull: the two
        names are one entry. Raises UnknownModel, ModelError, ProviderUnavailable, UsageError.
        """
        settings: Any = self._config.of_task(definition.name, definition.settings)
        entries = {}
        for name in names or [settings.model, *getattr(settings, "models", ())]:
            loaded = loaded_model(definition, self._registry, name, settings)
            if loaded.manifest is None:
                task = made_task(definition.name, loaded, NoGraph())
                self._metrics.include(task)
                entries[name] = ModelEntry(task, self._no_device)
                continue
            session, device = self._on_device(loaded.manifest, loaded, definition.name)
            task = made_task(definition.name, loaded, session)
            self._metrics.include(task)
            device.learn(loaded.manifest.max_tokens)
            entries[name] = ModelEntry(task, device)
            for same in _other_names(name, loaded.manifest):
                entries.setdefault(same, entries[name])
        return entries

    @cached_property
    def _no_device(self) -> Device:
        """What all models without a graph share."""
        return device_without_rows()

    def _on_device(self, manifest: Manifest, loaded: Loaded, task: str) -> OnDevice:
        key = (manifest.name, loaded.model)
        if key not in self._devices:
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
            note=CrashNote(home_folder() / "crashes" / f"{manifest.name}{own}", settings.lanes),
            batcher=self._batcher,
        )
        device.on_batch = lambda stats: self._metrics.ran(*stats[:-1])
        return OnDevice(session, device)


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
