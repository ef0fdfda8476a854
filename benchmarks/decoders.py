"""Tokens per second of the decoder alone, without queue and broker, against llama.cpp: one core, in turns.

    python benchmarks/decoders.py PEER_PYTHON [--rounds 3] [--core 1]

PEER_PYTHON is the interpreter of an environment of its own with the package xllamacpp (`pip install xllamacpp`), the
native server of llama.cpp. It gets the file of `inferstream models pull smollm2-135m` (Q4_1), and a copy of it in Q4_0,
which its kernels like best and which is another model. All is greedy, 64 tokens a stream, and no stream ends before.
Each system has its turn in each round, and stands still in the turns of the others (SIGSTOP). A figure is the median of
the rounds.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from tokenizers import Tokenizer

from inferstream.pipeline.lab.generation.bench_prompt import QUESTIONS
from inferstream.pipeline.lab.generation.peers_programs.q4_0_copy import q4_0_copy
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.chat_template import ChatTemplate, read_chat
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import More
from inferstream.pipeline.runtime.sessions import Session

GENERATED = 64
STREAMS = 8
READ = 512
CONTEXT = 1024
SERVER = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.port = int(sys.argv[2])
parameters.n_parallel = 8
parameters.n_ctx = 8 * 1024
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
parameters.n_batch = parameters.n_ubatch = int(sys.argv[3])
parameters.n_gpu_layers = 0
parameters.cache_ram_mib = 0
parameters.verbosity = -1
server = xllamacpp.Server(parameters)
print("READY", flush=True)
time.sleep(3600)
"""


class Turn(NamedTuple):
    """What one turn of a system gave: from asking to the last token, and between the first and the last ones."""

    seconds: float
    decode_per_second: float


class Peer(Protocol):
    name: str

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[float]]:
        """When each token of each stream came."""
        ...

    def pause(self) -> None: ...

    def go_on(self) -> None: ...


class Ours:
    """The generator in this process: a chunk of each new prompt, then a step of all rows."""

    def __init__(self, name: str, core: int) -> None:
        self.name = name
        self._core = core
        manifest = ModelRegistry().load(name)
        self._generator = Generator(
            Session(manifest.graph_path, provider="cpu"), GeneratorSize(rows=STREAMS, context=CONTEXT)
        )
        self._generator.warm_up()

    def pause(self) -> None:
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {self._core})

    def go_on(self) -> None:
        os.sched_setaffinity(0, {self._core})

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[float]]:
        rows = [GeneratedRow(prompt, count) for prompt in prompts]
        times: list[list[float]] = [[] for _ in rows]
        live = list(rows)
        while live:
            reading = [row for row in live if row.phase == PREFILL][:1]
            for batch in (reading, [row for row in live if row.phase == DECODE]):
                if not batch:
                    continue
                results = self._generator.step(batch)
                now = time.perf_counter()
                for row, result in zip(batch, results, strict=True):
                    times[rows.index(row)] += [now] * len(result.pieces)
                    if not isinstance(result, More):
                        live.remove(row)
        return times


class LlamaCpp:
    """Its native server, in a process on the same core."""

    def __init__(self, name: str, python: str, file: Path, port: int, core: int, batch: int) -> None:
        self.name = name
        self._port = port
        command = ["taskset", "-c", str(core), python, "-c", SERVER, str(file), str(port), str(batch)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        if not any(line.startswith("READY") for line in self._process.stdout):
            sys.exit(f"{python} cannot start llama.cpp: install xllamacpp there.")
        self.generate([[1, 2, 3]], 2)
        self.pause()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[float]]:
        times: list[list[float]] = [[] for _ in prompts]
        threads = [
            threading.Thread(target=self._stream, args=(prompt, count, arrived))
            for prompt, arrived in zip(prompts, times, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times

    def _stream(self, prompt: Sequence[int], count: int, arrived: list[float]) -> None:
        asked = {
            "prompt": list(prompt),
            "n_predict": count,
            "stream": True,
            "temperature": 0,
            "samplers": ["top_k"],
            "top_k": 1,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        connection = HTTPConnection("127.0.0.1", self._port)
        connection.request("POST", "/completion", json.dumps(asked), {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if line.startswith(b"data: "):
                # A token that leaves a character incomplete comes with a later one.
                made = json.loads(line[6:])["tokens_predicted"]
                arrived += [time.perf_counter()] * (made - len(arrived))


def turn(peer: Peer, prompts: Sequence[Sequence[int]], count: int) -> Turn:
    peer.go_on()
    began = time.perf_counter()
    times = peer.generate(prompts, count)
    peer.pause()
    assert all(len(one) == count for one in times), f"{peer.name} gave {[len(one) for one in times]} tokens"
    all_began = max(one[0] for one in times)
    last = max(one[-1] for one in times)
    behind = sum(at > all_began for one in times for at in one)
    return Turn(last - began, behind / (last - all_began) if behind else 0.0)


def measure(peers: Sequence[Peer], prompts: Sequence[Sequence[int]], rounds: int) -> None:
    long = (list(prompts[4]) * READ)[:READ]
    figures: dict[str, Callable[[Peer], float]] = {
        "1 stream, tokens/s": lambda peer: GENERATED / turn(peer, prompts[:1], GENERATED).seconds,
        f"{STREAMS} streams, tokens/s": lambda peer: STREAMS * GENERATED / last[peer.name].seconds,
        "the same after the last prompt": lambda peer: last[peer.name].decode_per_second,
        f"reading {READ} tokens, tokens/s": lambda peer: READ / turn(peer, [long], 1).seconds,
    }
    found: dict[str, dict[str, list[float]]] = {name: {peer.name: [] for peer in peers} for name in figures}
    for number in range(rounds):
        order = [*peers[number % len(peers) :], *peers[: number % len(peers)]]
        last = {}
        for name, figure in figures.items():
            for peer in order:
                if name.startswith(f"{STREAMS} "):
                    last[peer.name] = turn(peer, prompts, GENERATED)
                found[name][peer.name].append(figure(peer))
    ours = peers[0].name
    for name, values in found.items():
        for peer in peers[1:]:
            ratios = [a / b for a, b in zip(values[ours], values[peer.name], strict=True)]
            print(
                f"{name:<32} {ours} {statistics.median(values[ours]):6.1f}   "
                f"{peer.name:<18} {statistics.median(values[peer.name]):6.1f}   "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("peer_python")
    parser.add_argument("--model", default="smollm2-135m-int4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    given = parser.parse_args()
    manifest = ModelRegistry().load(given.model)
    file = next(Path(manifest.graph_path).parent.glob("*.gguf"))
    tokenizer = Tokenizer.from_file(manifest.tokenizer_path)
    template = ChatTemplate(read_chat(manifest.chat_path))
    texts = [template.text([{"role": "user", "content": question}]) for question in QUESTIONS]
    prompts = [tokenizer.encode(text).ids for text in texts]
    print("tokens of the prompts:", *map(len, prompts))
    with TemporaryDirectory() as folder:
        q4_0 = Path(folder) / "q4_0.gguf"
        q4_0_copy(file, q4_0)
        servers = [
            LlamaCpp("llama.cpp Q4_0", given.peer_python, q4_0, 21501, given.core, 2048),
            LlamaCpp("llama.cpp Q4_0 -b 64", given.peer_python, q4_0, 21502, given.core, 64),
            LlamaCpp("llama.cpp Q4_1", given.peer_python, file, 21503, given.core, 2048),
        ]
        try:
            measure([Ours(given.model, given.core), *servers], prompts, given.rounds)
        finally:
            for server in servers:
                server.close()


if __name__ == "__main__":
    main()
