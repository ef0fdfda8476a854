"""Models on disk: the catalogue, the sources of files, manifests and the registry."""
