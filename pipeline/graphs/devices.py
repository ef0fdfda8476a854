"""Where a graph can run; told in its metadata, and read without loading what builds graphs."""

DEVICE = "device"
ANY = "any"
CPU = "cpu"
