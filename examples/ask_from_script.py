"""Ask a daemon from a script: ``python ask_from_script.py jobs.sock``."""

import sys

from palingenesis import ClientError, ControlClient

client = ControlClient(sys.argv[1], timeout=5.0)
try:
    status = client.status()
    print(status.state, status.extra)
    for usage, summary in client.commands().items():
        print(f"{usage}: {summary}")
except ClientError as error:
    sys.exit(str(error))
