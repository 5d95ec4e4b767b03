"""The entry point of the ``palingenesis`` command and of ``python -m palingenesis``."""

import gc
import sys


def run() -> None:
    """
    Run the command line, and end the process with its exit status.

    Not every caller passes on what a function returns: the one of a zip archive does not.
    """
    # A collection of garbage during the imports, and another at exit, takes a tenth of the
    # time that a status takes.
    gc.disable()
    try:
        from palingenesis.cli.main import main

        gc.freeze()
        gc.enable()
        sys.exit(main())
    except KeyboardInterrupt:
        # During the imports; main prints nothing about it either.
        sys.exit(130)


if __name__ == "__main__":
    run()
