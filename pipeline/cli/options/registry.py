"""The option that names the registry of releases."""

from typing import Final

from .settings import setting

REGISTRY: Final = (
    setting(
        "registry.url",
        "--registry",
        help="Folder or address of the registry, as s3://bucket/models.  [default: the folder registry in your cache "
        "folder]",
    ),
)
