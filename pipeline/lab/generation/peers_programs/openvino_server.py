"""OpenVINO GenAI's continuous batching as a process: `python openvino_server.py GGUF ROWS TOKENS`.

A connection is a request: a line `{"tokens": [...], "count": N}`; the lines of the answer have the times at which
tokens came, in seconds of the monotonic clock. It ends when its standard input does.
"""

import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

import numpy as np
import openvino
import openvino_genai

CACHE_GB = 1

Asked = tuple[socket.socket, list[int], int]


def accept(server: socket.socket, asked: "queue.Queue[Asked]") -> None:
    while True:
        connection, _ = server.accept()
        line = json.loads(connection.makefile().readline())
        asked.put((connection, line["tokens"], line["count"]))


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def greedy(count: int) -> Any:
    """Settings of a greedy text with exactly this number of tokens."""
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = count
    config.min_new_tokens = count
    config.ignore_eos = True
    config.do_sample = False
    return config


def send_new(live: "dict[socket.socket, Any]") -> None:
    for connection, handle in live.items():
        while handle.can_read():
            made = sum(len(one.generated_ids) for one in handle.read().values())
            connection.sendall(json.dumps([time.perf_counter()] * made).encode() + b"\n")


def serve(pipeline: Any, asked: "queue.Queue[Asked]") -> None:
    live: dict[socket.socket, Any] = {}
    number = 0
    while True:
        while not (live and asked.empty()):
            connection, tokens, count = asked.get()
            number += 1
            live[connection] = pipeline.add_request(
                number, openvino.Tensor(np.array([tokens], np.int64)), greedy(count)
            )
        pipeline.step()
        send_new(live)
        if not pipeline.has_non_finished_requests():
            for connection in live:
                connection.close()
            live = {}


def main(file: str, rows: str, tokens: str) -> None:
    """Serve on one thread; ``tokens`` is the most that a step has."""
    config = openvino_genai.SchedulerConfig()
    config.cache_size = CACHE_GB
    config.max_num_seqs = int(rows)
    config.max_num_batched_tokens = int(tokens)
    config.dynamic_split_fuse = True
    config.enable_prefix_caching = False
    pipeline = openvino_genai.ContinuousBatchingPipeline(file, config, "CPU", {"INFERENCE_NUM_THREADS": 1})
    server = socket.create_server(("127.0.0.1", 0))
    asked: queue.Queue[Asked] = queue.Queue()
    threading.Thread(target=accept, args=(server, asked), daemon=True).start()
    threading.Thread(target=end_with_input, daemon=True).start()
    print(f"READY {server.getsockname()[1]}", flush=True)  # noqa: T201
    serve(pipeline, asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
