"""A scenario: load, faults and goals. Each is a TOML file in `scenarios`."""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...config import Config
from ...errors import UsageError
from ..load.requests import Mix

FOLDER: Final = Path(__file__).with_name("scenarios")

KINDS: Final = {
    "workers": ("kill_worker", "stop_worker", "suspend_worker"),
    "members": ("join_and_leave",),
    "brokers": ("kill_leader", "kill_coordinator", "suspend_broker", "rolling_restart"),
    "cache": ("delete_cache", "garble_cache"),
    "clock": ("step_clock",),
    "device": ("stall_device", "fail_device", "shrink_device"),
    "topics": ("make_reply_topics", "make_other_topics", "remake_topics"),
    "records": ("send_bomb",),
    "clients": ("kill_client",),
}
"""The kinds of faults by area."""

AREAS: Final = {kind: area for area, kinds in KINDS.items() for kind in kinds}
"""Faults of one area follow each other, those of different areas may overlap."""


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of one kind. Raises ValueError for an unknown kind.

    Attributes:
        times: number in the scenario's own time, scaled to the length of the run; at least one.
        seconds: shortest and longest duration: until the broker restarts, the worker or device
            continues, the additional worker leaves, the reply topics are deleted, the client is killed
            after its first pieces. For a clock: smallest and largest error.
    """

    kind: str
    times: int
    seconds: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.kind not in AREAS:
            raise ValueError(f"there is no kind of fault {self.kind!r}")


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    """The pace of requests: one of the first three. `times_capacity` changes it for the storm.

    Attributes:
        per_s: requests per second, constant.
        open: constant number of open requests.
        burst: number of requests at once, every `burst_every_s`.
        times_capacity: rate of the storm, as a multiple of the results per second in the calm.
    """

    per_s: float = 0.0
    open: int = 0
    burst: int = 0
    burst_every_s: float = 2.0
    times_capacity: float = 0.0


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A calm without faults, then a storm with faults.

    The workers serve ``task``: triage, translate or generate with its model, or `steps` (``step_s`` for each step)
    with none.
    ``storm`` holds the fields of the mix that differ after the calm. ``customer_per_s`` more
    requests per second come through our own client, and ``streams_per_s`` streams; ``captions`` speakers have
    their captions translated at a time, and ``conversations`` callers talk with the model; after the calm,
    ``transactions_per_s`` transactions from another. ``goals`` are limits by the name of a figure. A scenario that
    measures the speed of workers needs one broker only: each takes CPU time.

    Raises ValueError when the calm is longer than half of the time.
    """

    about: str
    seconds: float
    name: str = ""
    task: str = "triage"
    step_s: float = 0.005
    brokers: int = 3
    calm_s: float = 20.0
    workers: int = 2
    partitions: int = 8
    restart_after_s: float = 1.0
    cache: bool = True
    customer_per_s: float = 0.0
    streams_per_s: float = 0.0
    captions: int = 0
    conversations: int = 0
    transactions_per_s: float = 0.0
    load: Load = Load(per_s=100)
    mix: Mix = Mix()
    storm: dict[str, Any] = {}
    config: dict[str, dict[str, Any]] = {}
    faults: list[Faults] = []
    goals: dict[str, float] = {}

    def __post_init__(self) -> None:
        if not 0 < self.calm_s <= self.seconds / 2:
            raise ValueError("`calm_s` must be more than 0 and at most half of `seconds`")

    @property
    def storm_mix(self) -> Mix:
        """The mix of the storm."""
        return msgspec.convert(msgspec.to_builtins(self.mix) | self.storm, Mix)


def scenario_names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_scenario(name: str, folder: Path = FOLDER) -> Scenario:
    """Read a scenario. Raises UsageError for an unknown name or an invalid file."""
    path = folder / f"{name}.toml"
    if name not in scenario_names(folder):
        raise UsageError(f"There is no scenario {name!r}. Use one of: {', '.join(scenario_names(folder))}.")
    try:
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
        _ = scenario.storm_mix
    except msgspec.DecodeError as error:
        raise UsageError(f"The scenario {path} is invalid: {error}.") from error
    return msgspec.structs.replace(scenario, name=name)


def config_of(scenario: Scenario, bootstrap: str) -> Config:
    """The scenario's settings. One lane for each worker: brokers and load share the CPU."""
    tables: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap": bootstrap, "partitions": scenario.partitions, "replication": scenario.brokers},
        "engine": {"lanes": 1},
        "cache": {"enabled": scenario.cache},
    }
    for name, changes in scenario.config.items():
        tables[name] = tables.get(name, {}) | changes
    return msgspec.convert(tables, Config)
