"""The native server of llama.cpp as a process: `python llama_cpp_server.py GGUF PORT ROWS BATCH`.

It ends when its standard input does.
"""

import sys

import xllamacpp

CONTEXT = 1024


def main(file: str, port: str, rows: str, batch: str) -> None:
    """Serve on one thread; ``batch`` is the most tokens of a run (`-b` and `-ub`)."""
    given = xllamacpp.CommonParams()
    given.model.path = file
    given.port = int(port)
    given.n_parallel = int(rows)
    given.n_ctx = int(rows) * CONTEXT
    given.cpuparams.n_threads = 1
    given.cpuparams_batch.n_threads = 1
    given.n_batch = int(batch)
    given.n_ubatch = int(batch)
    given.n_gpu_layers = 0
    given.cache_ram_mib = 0
    given.verbosity = -1
    server = xllamacpp.Server(given)
    print("READY", flush=True)  # noqa: T201
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
