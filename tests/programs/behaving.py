"""A command as revivals and notifications start it: it does what its first argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

PARTS = 256


def tell(path: str, **told: object) -> None:
    """Put a whole report in place at once, so that a reader never sees half of one."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.replace(f"{path}.new", path)


def report(path: str, arguments: list[str]) -> None:
    ignored = [number for number in (1, 2, 3, 13, 15) if signal.getsignal(number) is signal.SIG_IGN]
    tell(
        path,
        arguments=arguments,
        directory=os.getcwd(),
        environment=dict(os.environ),
        stdin=sys.stdin.read(),
        leads=os.getpid() == os.getsid(0) == os.getpgid(0),
        descriptors=sorted(os.listdir("/dev/fd")),
        blocked=sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        ignored=ignored,
        umask=os.umask(0),
    )


def main() -> None:
    way, path, *arguments = sys.argv[1:]
    match way:
        case "report":
            report(path, arguments)
        case "print":
            print("to stdout", flush=True)
            print("to stderr", file=sys.stderr, flush=True)
        case "exit":
            sys.exit(int(path))
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            tell(path, pid=os.getpid())
            time.sleep(600)
        case "hang":
            tell(path, pid=os.getpid())
            time.sleep(600)
        case "fork":
            # The leader dies of SIGTERM, its child does not.
            reader, writer = os.pipe()
            if (child := os.fork()) == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.write(writer, b"!")
                time.sleep(600)
                os._exit(0)
            os.read(reader, 1)
            tell(path, pid=os.getpid(), child=child)
            time.sleep(600)
        case "close":
            os.close(1)
            os.close(2)
            tell(path, pid=os.getpid())
            time.sleep(600)
        case "flood":
            for _ in range(PARTS):
                sys.stdout.write("x" * 1023 + "\n")
            sys.stdout.flush()
            tell(path, pid=os.getpid())
            sys.stdin = open(f"{path}.go", encoding="utf-8")  # noqa: SIM115 - a FIFO to wait at
            print("after the flood", flush=True)
            tell(f"{path}.done", pid=os.getpid())
            time.sleep(600)


if __name__ == "__main__":
    main()
