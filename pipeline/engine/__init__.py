"""From a text to its answer: cache, single-flight, micro-batches, devices."""
