"""Ask a daemon from a Twisted application: ``python ask_from_twisted.py jobs.sock``."""

import sys
from typing import Any

from twisted.internet.task import react

from palingenesis.client.deferred import ControlClient
from palingenesis.client.errors import ClientError


async def main(reactor: Any, path: str) -> None:
    """Ask twice, and print what comes."""
    client = ControlClient(reactor, path)
    try:
        print((await client.status()).state)
        print(await client.send("COUNT"))
    except ClientError as error:
        sys.exit(str(error))


react(main, sys.argv[1:])
