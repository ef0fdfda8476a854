"""Models that bring their graph, or whose graph torch exports."""
