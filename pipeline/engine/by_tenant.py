"""The default model of a task where tenants have models of their own."""

from collections.abc import Mapping, Sequence

from .job import Job
from .model_entry import Chooser, ModelEntry, Served, entries_of


class ByTenant:
    """A `Chooser`: the model of the request's tenant, for requests that name no model."""

    def __init__(self, default: Served, of_tenants: Mapping[str, Served]) -> None:
        self._default = default
        self._of_tenants = of_tenants
        all_entries = (entry for served in (default, *of_tenants.values()) for entry in entries_of(served))
        self._entries = tuple(dict.fromkeys(all_entries))

    @property
    def entries(self) -> Sequence[ModelEntry]:
        return self._entries

    @property
    def choosers(self) -> Sequence[Chooser]:
        """Those among the models that choose themselves, as one with a release on trial does."""
        served = (self._default, *self._of_tenants.values())
        return [one for one in served if not isinstance(one, ModelEntry)]

    def served(self, job: Job) -> Served:
        """The model of the job: of its tenant, or the default one."""
        return self._default if job.model is not None else self._of_tenants.get(job.tenant, self._default)

    def choose(self, job: Job) -> ModelEntry:
        served = self.served(job)
        return served if isinstance(served, ModelEntry) else served.choose(job)
