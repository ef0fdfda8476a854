"""What can be wrong with a registry or a release. All are ModelError: a worker serves on with what it has."""

from ...errors import ModelError, UnknownModel, UsageError


class RegistryError(ModelError):
    """The registry cannot be read or written, or has no such file."""


class BadRelease(ModelError):
    """The release must not be served; the sentence names the fault."""


class UnknownRelease(UnknownModel):
    """There is no such alias or version."""


class AliasChanged(UsageError):
    """Another promoter was faster: the alias is not what the change was made for."""
