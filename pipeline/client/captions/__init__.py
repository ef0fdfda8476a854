"""Streams of captions: segments in, their translations out, in order, while they still grow."""
