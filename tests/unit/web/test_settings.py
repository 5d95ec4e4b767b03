"""The table ``[http]``."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.web.settings import HTTPSettings, Place, check_http, settings_of


class TableTests(SynchronousTestCase):
    def checked(self, **table: Any) -> HTTPSettings:
        return check_http("http", table)

    def refusal(self, **table: Any) -> str:
        return str(self.assertRaises(ValueError, self.checked, **table))

    def test_by_default_nothing_listens(self) -> None:
        self.assertEqual(self.checked(), HTTPSettings((), 0o600, (), (), False))
        self.assertEqual(settings_of({}), HTTPSettings())
        self.assertEqual(settings_of({"http": self.checked(control=True)}).control, True)

    def test_listen_is_a_place_or_a_list_of_them(self) -> None:
        tcp, local = Place(host="127.0.0.1", port=7654), Place(path="/run/x.sock")
        self.assertEqual(self.checked(listen="127.0.0.1:7654").listen, (tcp,))
        places = ["unix:/run/x.sock", "127.0.0.1:7654", "127.0.0.1:7654"]
        self.assertEqual(self.checked(listen=places).listen, (local, tcp))

    def test_an_address_of_elsewhere_names_the_key_and_the_ways(self) -> None:
        said = self.refusal(listen=["0.0.0.0:7654"])
        for word in ("http.listen", "0.0.0.0:7654", "ssh -L", "reverse proxy"):
            self.assertIn(word, said)

    def test_a_path_is_absolute(self) -> None:
        self.assertIn("absolute", self.refusal(listen="unix:x.sock"))
        home = os.path.expanduser("~/x.sock")
        self.assertEqual(self.checked(listen="unix:~/x.sock").listen, (Place(path=home),))

    def test_users_are_known_by_name_or_number(self) -> None:
        self.assertEqual(self.checked(users=["root", 7]).users, (0, 7))
        self.assertIn("no user", self.refusal(users=["no-such-user-here"]))

    def test_hosts_are_names(self) -> None:
        self.assertEqual(self.checked(hosts=["Watch.Example"]).hosts, ("watch.example",))
        self.assertIn("https://x", self.refusal(hosts=["https://x"]))

    def test_what_is_of_another_type_is_told(self) -> None:
        for table in (
            {"listen": 7},
            {"listen": [7]},
            {"hosts": "x"},
            {"users": "root"},
            {"control": 1},
            {"mode": "0999"},
            {"unknown": 1},
        ):
            self.assertIn("http", self.refusal(**table))
        self.assertRaises(ValueError, check_http, "http", [])
