"""The entry point of the ``palingenesis`` command and of ``python -m palingenesis``."""

import gc
import sys


def run() -> int:
    """Run the command line, and return its exit status."""
    # A collection of garbage during the imports, and another at exit, takes a tenth of the
    # time that a status takes.
    gc.disable()
    try:
        from palingenesis.cli.main import main

        gc.freeze()
        gc.enable()
        return main()
    except KeyboardInterrupt:
        # During the imports; main prints nothing about it either.
        return 130


if __name__ == "__main__":
    sys.exit(run())
