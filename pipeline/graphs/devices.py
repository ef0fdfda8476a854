"""The devices that a graph can run on, as stored in its metadata. Imports nothing, unlike the builders."""

DEVICE = "device"
ANY = "any"
CPU = "cpu"
CUDA = "cuda"
