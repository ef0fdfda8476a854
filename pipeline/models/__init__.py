"""Models on disk: the catalogue, the sources of files, manifests and the folder of this machine; releases of them."""
