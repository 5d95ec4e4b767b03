"""
The load of ``loadgen.c`` if there is no C compiler: a process for each client.

``python loadgen.py PATH CLIENTS SECONDS`` prints the same line.
"""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import socket
import sys
import time


def client(path: str, end: float) -> list[float]:
    latencies: list[float] = []
    while True:
        started = time.monotonic()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(path)
            connection.sendall(b"STATUS\n")
            reply = b""
            while received := connection.recv(4096):
                reply = received
        finished = time.monotonic()
        if not reply.endswith(b"\n"):
            raise SystemExit("loadgen: a reply that is empty or does not end in a newline")
        # The answer that comes after the end is not counted, unless it is the only one.
        if finished >= end and latencies:
            return latencies
        latencies.append(finished - started)


def main(path: str, clients: int, seconds: float) -> None:
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        begun = time.monotonic()
        work = [(path, begun + seconds)] * clients
        latencies = sorted(itertools.chain(*pool.starmap(client, work, chunksize=1)))
        elapsed = time.monotonic() - begun
        pool.close()
        pool.join()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"count={len(latencies)} elapsed={seconds:.6f} "
        f"p50={latencies[len(latencies) // 2] * 1e6:.1f} "
        f"p99={latencies[len(latencies) * 99 // 100] * 1e6:.1f} "
        f"busy={(usage.ru_utime + usage.ru_stime) / elapsed:.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
