"""Programs that run in the environment of the peers: they import nothing of inferstream."""
