"""Trains a smaller encoder towards the vectors of its original, with torch."""
