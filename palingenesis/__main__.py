"""Where the ``palingenesis`` command and ``python -m palingenesis`` start."""

import gc
import sys


def run() -> int:
    """Run the command line, and return its exit status."""
    # Looking for garbage among what is only just imported, and again at exit, takes a
    # tenth of the time that a person waits for a status.
    gc.disable()
    try:
        from palingenesis.cli.main import main

        gc.freeze()
        gc.enable()
        return main()
    except KeyboardInterrupt:
        # While it was imported; main itself is quiet about it too.
        return 130


if __name__ == "__main__":
    sys.exit(run())
