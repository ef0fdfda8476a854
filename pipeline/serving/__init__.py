"""A worker as a process: built from its settings, run, watched, drained."""
