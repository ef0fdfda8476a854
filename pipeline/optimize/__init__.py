"""Builds smaller and faster variants of models, and measures their accuracy."""
