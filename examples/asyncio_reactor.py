"""
A handler that awaits asyncio, under Twisted's asyncio reactor.

Twisted drives a handler's coroutine, which can await Deferreds only. ``Deferred.fromFuture``
makes one from an asyncio future. Run it with ``python asyncio_reactor.py``.
"""

import asyncio
from typing import Any

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from twisted.internet import reactor  # noqa: E402 - the reactor is chosen above
from twisted.internet.defer import Deferred  # noqa: E402

from palingenesis import ControlService, DaemonState, SignalService  # noqa: E402


async def work() -> str:
    """Do something with asyncio."""
    await asyncio.sleep(0.01)
    return "worked"


async def handler() -> str:
    """Answer WORK."""
    return await Deferred.fromFuture(asyncio.ensure_future(work(), loop=loop))


control = ControlService(DaemonState(), "asyncio.sock")
control.command("WORK", handler, "work with asyncio")
control.startService()
SignalService(control.reload).startService()

core: Any = reactor
core.addSystemEventTrigger("before", "shutdown", control.stopService)
core.run()
