"""Settings as they are given: read, checked, and named in the errors."""
