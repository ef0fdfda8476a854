"""A process that tries grammars before a worker compiles them. It is run as a file: it imports nothing of ours.

Each grammar is compiled in a fork that has little time, memory and stack: a grammar of 100 KB has ended a process by
its depth, a pattern of 78 bytes has taken gigabytes. What passes here costs a worker no more than it did here.
"""

import json
import os
import resource
import signal
import sys
import threading

import llguidance

CPU_S = 0.3
MEMORY = 256 << 20
STACK = 1 << 20
"""Bytes; an eighth of what the threads of a worker have."""
WALKS = 4
WALK = 16
"""Tokens of an attempt to follow the grammar: what fails at once is better refused than started."""

SMALLEST = llguidance.LLMatcher.grammar_from_regex("a")
"""What it takes, a fork takes for any grammar."""


def main() -> None:
    """Read {"tokenizer": path, "ends": ids, "limits": …}, then a JSON string with a grammar in each line.

    Answers each with a line: the JSON of [reason, kilobytes, milliseconds]; no reason if the grammar can be used.
    """
    start = json.loads(sys.stdin.readline())
    with open(start["tokenizer"], encoding="utf-8") as file:  # noqa: PTH123 (pathlib takes 20 ms to import)
        tokenizer = llguidance.LLTokenizer(file.read(), eos_token=start["ends"])
    limits = llguidance.LLParserLimits(**start["limits"])
    _, least = _tried_in_fork(tokenizer, SMALLEST, limits)
    for line in sys.stdin:
        began = _cpu_of_forks_s()
        reason, kb = _tried_in_fork(tokenizer, json.loads(line), limits)
        ms = 1e3 * (_cpu_of_forks_s() - began)
        sys.stdout.write(json.dumps([reason, max(0, kb - least), round(ms, 1)]) + "\n")
        sys.stdout.flush()


def _tried_in_fork(
    tokenizer: llguidance.LLTokenizer, grammar: str, limits: llguidance.LLParserLimits
) -> tuple[str, int]:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _limit()
        threading.stack_size(STACK)
        found: list[tuple[str, int]] = []
        thread = threading.Thread(target=lambda: found.append(_tried(tokenizer, grammar, limits)))
        thread.start()
        thread.join()
        os.write(write, json.dumps(found[0]).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:  # noqa: PTH123
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return f"it takes more than {CPU_S} s to compile", 0
    if status or not answer:
        return "it is too deep, or takes too much memory", 0
    reason, kb = json.loads(answer)
    return reason, kb


def _limit() -> None:
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # what the library writes when it ends the process


def _tried(
    tokenizer: llguidance.LLTokenizer, grammar: str, limits: llguidance.LLParserLimits
) -> tuple[str, int]:
    before = _resident_kb()
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0, limits=limits)
    reason = matcher.get_error()
    for number in range(WALKS):
        reason = reason or _reason_on_walk(matcher.deep_copy(), number)
    return reason, _resident_kb() - before


def _reason_on_walk(matcher: llguidance.LLMatcher, number: int) -> str:
    """What failed on the way; nothing where only no text can go on: that depends on the way."""
    for _ in range(WALK):
        mask = matcher.compute_bitmask()
        if matcher.is_stopped():
            break
        matcher.consume_token(_some_token(mask, number))
    reason: str = matcher.get_error()
    return "" if reason.startswith("NoExtension") else reason


def _some_token(mask: bytes, number: int) -> int:
    """One of those that are allowed, another one on each walk."""
    found = [place for place, byte in enumerate(mask) if byte]
    place = found[(2 * number + 1) * len(found) // (2 * WALKS)]
    byte = mask[place]
    return 8 * place + (byte.bit_length() - 1 if number % 2 else (byte & -byte).bit_length() - 1)


def _cpu_of_forks_s() -> float:
    """All of them together: each has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident_kb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    main()
