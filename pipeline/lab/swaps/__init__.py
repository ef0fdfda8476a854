"""Load on a worker whose model is exchanged meanwhile: each answer must be right for the release that it names."""
