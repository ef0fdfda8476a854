"""Operating a pipeline: what its topics say, without its workers."""
