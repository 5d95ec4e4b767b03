"""How twistd is prepared on a simulated macOS."""

from __future__ import annotations

import resource
import sys
from types import ModuleType

import twisted.internet
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon import preflight

UNLIMITED = resource.RLIM_INFINITY


class ReactorTests(SynchronousTestCase):
    def installed(self, *loaded: str, platform: str = "darwin") -> list[str]:
        """Prepare a process that has these modules loaded, and return what was installed."""
        done: list[str] = []
        kqreactor = ModuleType("twisted.internet.kqreactor")
        kqreactor.install = lambda: done.append("kqueue")  # type: ignore[attr-defined]
        self.patch(sys, "platform", platform)
        self.patch(sys, "modules", {**sys.modules, kqreactor.__name__: kqreactor})
        self.patch(twisted.internet, "kqreactor", kqreactor)
        sys.modules.pop("twisted.internet.reactor", None)
        for name in loaded:
            sys.modules[name] = ModuleType(name)
        self.patch(resource, "setrlimit", lambda *_: None)
        preflight.prepare_macos()
        return done

    def setUp(self) -> None:
        # `patch` restores only what was there.
        twisted.internet.kqreactor = None  # type: ignore[attr-defined]
        self.addCleanup(delattr, twisted.internet, "kqreactor")

    def test_kqueue_is_chosen(self) -> None:
        self.assertEqual(self.installed(), ["kqueue"])

    def test_a_reactor_that_is_installed_stays(self) -> None:
        self.assertEqual(self.installed("twisted.internet.reactor"), [])

    def test_on_linux_twisted_chooses(self) -> None:
        self.assertEqual(self.installed(platform="linux"), [])


class DescriptorTests(SynchronousTestCase):
    def limits(self, soft: int, hard: int) -> list[tuple[int, int]]:
        """Prepare a process that has these limits, and return those that were set."""
        done: list[tuple[int, int]] = []
        self.patch(sys, "platform", "darwin")
        self.patch(resource, "getrlimit", lambda _: (soft, hard))
        self.patch(resource, "setrlimit", lambda _, limits: done.append(limits))
        self.patch(sys, "modules", {**sys.modules, "twisted.internet.reactor": ModuleType("r")})
        preflight.prepare_macos()
        return done

    def test_a_low_limit_is_raised(self) -> None:
        self.assertEqual(self.limits(256, UNLIMITED), [(4096, UNLIMITED)])

    def test_the_limit_of_descriptors_is_raised_to_the_hard_one_at_most(self) -> None:
        self.assertEqual(self.limits(256, 1024), [(1024, 1024)])

    def test_a_higher_limit_stays(self) -> None:
        self.assertEqual(self.limits(10240, UNLIMITED), [])
        self.assertEqual(self.limits(UNLIMITED, UNLIMITED), [])

    def test_a_limit_that_cannot_be_raised_ends_no_start(self) -> None:
        def refuse(*_: object) -> None:
            raise ValueError("not allowed to raise maximum limit")

        self.patch(sys, "platform", "darwin")
        self.patch(resource, "getrlimit", lambda _: (256, UNLIMITED))
        self.patch(resource, "setrlimit", refuse)
        self.patch(sys, "modules", {**sys.modules, "twisted.internet.reactor": ModuleType("r")})
        preflight.prepare_macos()
