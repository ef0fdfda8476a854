"""A scenario: what load, which faults, which goals. Each is a TOML file in `scenarios`."""

from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ...errors import UsageError
from ..load.requests import Mix

TASK: Final = "triage"
FOLDER: Final = Path(__file__).with_name("scenarios")

FaultKind = Literal[
    "kill_worker",
    "stop_worker",
    "suspend_worker",
    "join_and_leave",
    "kill_leader",
    "kill_coordinator",
    "suspend_broker",
    "rolling_restart",
    "delete_cache",
    "garble_cache",
    "step_clock",
    "stall_device",
    "fail_device",
    "shrink_device",
]

AREAS: Final[dict[str, str]] = {
    "kill_worker": "workers",
    "stop_worker": "workers",
    "suspend_worker": "workers",
    "join_and_leave": "members",
    "kill_leader": "brokers",
    "kill_coordinator": "brokers",
    "suspend_broker": "brokers",
    "rolling_restart": "brokers",
    "delete_cache": "cache",
    "garble_cache": "cache",
    "step_clock": "clock",
    "stall_device": "device",
    "fail_device": "device",
    "shrink_device": "device",
}
"""What a fault befalls. Faults of one area come one after the other, those of different areas may coincide."""


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """Faults of one kind.

    Attributes:
        times: how many in the scenario's own time; a longer or shorter run has more or fewer, at least one.
        seconds: how long each lasts, from and to: until the broker comes back, the worker or device goes on, the
            member leaves. Of a clock: by how many seconds it is off, from and to.
    """

    kind: FaultKind
    times: int
    seconds: tuple[float, float] = (0.0, 0.0)


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests come. One of the first three is set for the calm; the faults' time has the same unless it says so.

    Attributes:
        per_s: steadily so many a second.
        open: always so many under way.
        burst: so many at once, each `burst_every_s`.
        times_capacity: during the faults, so many times a second as were answered in the calm.
    """

    per_s: float = 0.0
    open: int = 0
    burst: int = 0
    burst_every_s: float = 2.0
    times_capacity: float = 0.0


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to break things.

    ``storm`` holds what of the mix is different once the calm is over. ``customer_per_s`` more requests a second come
    through our own client. ``goals`` are by the names of figures, see `figures`. Where no broker is broken and the
    workers' speed is what matters, one of the ``brokers`` does: each takes its share of the cores.

    Raises ValueError where the calm is over half of the time.
    """

    about: str
    seconds: float
    name: str = ""
    brokers: int = 3
    calm_s: float = 20.0
    workers: int = 2
    partitions: int = 8
    restart_after_s: float = 1.0
    cache: bool = True
    customer_per_s: float = 0.0
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
        """The mix while faults happen."""
        return msgspec.convert(msgspec.to_builtins(self.mix) | self.storm, Mix)


def scenario_names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_scenario(name: str, folder: Path = FOLDER) -> Scenario:
    """The scenario of that name. Raises UsageError naming those there are, or what is wrong in the file."""
    path = folder / f"{name}.toml"
    if name not in scenario_names(folder):
        raise UsageError(f"There is no scenario {name!r}; there are: {', '.join(scenario_names(folder))}.")
    try:
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
        _ = scenario.storm_mix
    except msgspec.DecodeError as error:
        raise UsageError(f"The scenario {path} is wrong: {error}.") from error
    return msgspec.structs.replace(scenario, name=name)
