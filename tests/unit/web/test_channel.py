"""What a connection can cost: heads, bodies, time, pipelines and answers that nobody reads."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from palingenesis.web.channel import (
    BODY_LIMIT,
    HEAD_LIMIT,
    IDLE_SECONDS,
    LINGER_LIMIT,
    LINGER_SECONDS,
    REQUEST_SECONDS,
)
from tests.support.web import OWN_PAGE, TOKEN, Client, DoorTestCase, Reply, request


class HeadTests(DoorTestCase):
    def padded(self, size: int) -> bytes:
        head = request(headers=["X: "])
        return head.replace(b"X: ", b"X: " + b"x" * (size - len(head)))

    def test_a_head_of_16_kib_is_answered(self) -> None:
        client = self.connect().send(self.padded(HEAD_LIMIT))
        self.assertEqual(client.statuses, [200])

    def test_a_head_one_byte_over_the_limit_is_refused(self) -> None:
        for head in (
            self.padded(HEAD_LIMIT + 1),
            b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\n",
            b"GET /" + b"x" * HEAD_LIMIT,
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (HEAD_LIMIT // 6),
        ):
            client = self.connect().send(head + b"\r\n\r\n")
            self.assertEqual(client.statuses, [431])
            self.assertTrue(client.is_closed)

    def test_each_request_of_a_connection_has_its_own_16_kib(self) -> None:
        client = self.connect()
        for _ in range(3):
            client.send(self.padded(HEAD_LIMIT))
        self.assertEqual(client.statuses, [200] * 3)

    def test_what_is_malformed_is_a_problem_and_the_end(self) -> None:
        for head in (
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\nInjected: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ):
            with self.subTest(head=head):
                client = self.connect().send(head)
                reply = Reply(client.received)
                self.assertEqual(reply.status, 400)
                self.assertEqual(reply.headers["content-type"], "application/problem+json")
                self.assertTrue(client.is_closed)

    def test_lengths_that_two_servers_may_read_differently_are_refused(self) -> None:
        smuggled = b"0\r\n\r\n" + request("POST", "/api/v1/pause", headers=OWN_PAGE)
        for headers, status in (
            (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
            (b"Transfer-Encoding: identity\r\n", 501),
            (b"Transfer-Encoding: gzip, chunked\r\n", 400),
            (b"Transfer-Encoding: xchunked\r\n", 400),
        ):
            with self.subTest(headers=headers):
                head = b"POST /health HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"
                client = self.connect().send(head + smuggled)
                self.assertEqual(client.statuses, [status])
                self.assertTrue(client.is_closed)
                self.assertFalse(self.state.paused)


class BodyTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.control.command("FLUSH", lambda: None, "drop what waits", web=True)

    def head(self, *headers: str) -> bytes:
        return request(
            "POST",
            "/api/v1/commands/FLUSH",
            self.session(),
            headers=[*OWN_PAGE, "Content-Type: application/json", *headers],
        )

    def test_a_body_of_4_kib_is_read(self) -> None:
        body = b'{"arguments": []}'.ljust(BODY_LIMIT)
        client = self.connect().send(self.head(f"Content-Length: {len(body)}") + body)
        self.assertEqual(client.statuses, [204])

    def test_a_larger_one_is_refused_before_it_comes(self) -> None:
        for length in (str(BODY_LIMIT + 1), "9" * 30, "9" * 5000):
            client = self.connect()
            client.send(self.head(f"Content-Length: {length}", "Expect: 100-continue"))
            self.assertEqual(client.statuses, [413])
            self.assertTrue(client.is_closed)

    def test_a_body_whose_chunks_are_over_the_limit_together_is_refused(self) -> None:
        client = self.connect().send(self.head("Transfer-Encoding: chunked"))
        client.send((b"800\r\n" + b" " * 0x800 + b"\r\n") * 2)
        self.assertEqual(client.statuses, [])
        client.send(b"1\r\n \r\n0\r\n\r\n")
        self.assertEqual(client.statuses, [413])

    def test_chunks_that_are_small_enough_are_read(self) -> None:
        client = self.connect().send(self.head("Transfer-Encoding: chunked"))
        client.send(b"2\r\n{}\r\n0\r\n\r\n")
        self.assertEqual(client.statuses, [204])

    def test_a_client_that_is_expected_to_go_on_is_told(self) -> None:
        client = self.connect().send(self.head("Content-Length: 2", "Expect: 100-continue"))
        self.assertEqual(client.statuses, [100])
        client.send(b"{}")
        self.assertEqual(client.statuses, [100, 204])

    def test_what_comes_after_a_refusal_is_discarded_up_to_a_limit(self) -> None:
        client = self.connect().send(self.head("Content-Length: 99999999"))
        client.send(b"x" * LINGER_LIMIT)
        self.assertFalse(client.transport.aborted)
        client.send(b"x")
        self.assertTrue(client.transport.aborted)
        self.assertEqual(client.statuses, [413])

    def test_the_rest_of_a_refused_body_is_discarded_for_a_while(self) -> None:
        client = self.connect().send(self.head("Content-Length: 99999999"))
        self.clock.advance(LINGER_SECONDS)
        self.assertTrue(client.transport.aborted)


class TimeTests(DoorTestCase):
    def test_a_client_that_says_nothing_is_disconnected_without_a_word(self) -> None:
        client = self.connect()
        self.clock.advance(REQUEST_SECONDS)
        self.assertEqual((client.is_closed, client.received), (True, b""))

    def test_a_request_that_dribbles_in_is_cut_at_five_seconds(self) -> None:
        client = self.connect()
        for byte in request()[:4]:
            self.clock.advance(1)
            client.send(bytes([byte]))
        self.clock.advance(1)
        self.assertEqual(client.statuses, [408])

    def test_a_body_that_does_not_come_in_time_is_cut(self) -> None:
        client = self.connect()
        self.clock.advance(1)
        client.send(request("POST", headers=["Content-Length: 100"]))
        for _ in range(4):
            self.clock.advance(1)
            client.send(b"x")
        self.assertEqual(client.statuses, [408])

    def test_a_connection_may_be_idle_for_thirty_seconds_between_two_requests(self) -> None:
        client = self.connect().send(request())
        self.clock.advance(IDLE_SECONDS - 1)
        client.send(request())
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertEqual((client.statuses, client.is_closed), ([200, 200], False))
        self.clock.advance(1)
        self.assertTrue(client.is_closed)

    def test_the_next_request_has_five_seconds_again(self) -> None:
        client = self.connect().send(request())
        self.clock.advance(IDLE_SECONDS - 1)
        client.send(b"GET")
        self.clock.advance(REQUEST_SECONDS - 1)
        self.assertFalse(client.is_closed)
        self.clock.advance(1)
        self.assertEqual(client.statuses, [200, 408])

    def test_a_head_that_began_behind_another_request_has_the_same_time(self) -> None:
        client = self.connect().send(request() + b"GET")
        self.clock.advance(REQUEST_SECONDS)
        self.assertEqual(client.statuses, [200, 408])

    def test_a_command_takes_the_time_that_commands_may(self) -> None:
        self.control.command("SLEEP", Deferred, "never done", web=True)
        client = self.connect()
        path = "/api/v1/commands/SLEEP"
        client.send(request("POST", path, self.session(), headers=OWN_PAGE))
        self.clock.advance(29)
        self.assertEqual(client.statuses, [])
        self.clock.advance(1)
        self.assertEqual(client.statuses, [504])

    def test_a_client_that_takes_no_end_is_aborted(self) -> None:
        client = self.connect().send(request(headers=["Connection: close"]))
        self.assertTrue(client.is_closed)
        self.clock.advance(IDLE_SECONDS)
        self.assertTrue(client.transport.aborted)

    def test_a_client_that_is_gone_leaves_nothing_to_wait_for(self) -> None:
        for data in (b"", b"GET", request(), request("POST", headers=["Content-Length: 9"])):
            self.connect().send(data).close()
        self.assertEqual((self.clock.getDelayedCalls(), len(self.site._channels)), ([], 0))


class PipelineTests(DoorTestCase):
    def test_requests_are_answered_in_their_order(self) -> None:
        done: Deferred[None] = Deferred()
        self.control.command("SLEEP", lambda: done, "wait", web=True)
        sleep = request("POST", "/api/v1/commands/SLEEP", self.session(), headers=OWN_PAGE)
        client = self.connect().send(request() + sleep + request(path="/health") + request())
        self.assertEqual(client.statuses, [200])
        done.callback(None)
        self.assertEqual(client.statuses, [200, 204, 200, 200])

    def test_none_is_answered_while_the_answers_wait(self) -> None:
        client = self.connect().send(request())
        client.channel.pauseProducing()
        client.send(request() * 3)
        self.assertEqual((client.statuses, client.transport.producerState), ([200], "paused"))
        client.channel.resumeProducing()
        self.assertEqual(client.statuses, [200] * 4)
        self.assertEqual(client.transport.producerState, "producing")

    def test_thousands_in_one_segment_are_answered(self) -> None:
        client = self.connect().send(request(path="/health", key=None) * 2000)
        self.assertEqual(client.statuses, [200] * 2000)

    def test_after_connection_close_nothing_more_is_answered(self) -> None:
        client = self.connect().send(request(headers=["Connection: close"]) + request())
        self.assertEqual((client.statuses, client.is_closed), ([200], True))


class HalfCloseTests(DoorTestCase):
    def half_closed(self, data: bytes) -> Client:
        client = self.connect().send(data)
        client.channel.readConnectionLost()
        return client

    def test_a_whole_request_is_answered(self) -> None:
        client = self.half_closed(request() * 2)
        self.assertEqual((client.statuses, client.is_closed), ([200, 200], True))

    def test_a_slow_command_is_answered_after_a_half_close(self) -> None:
        done: Deferred[None] = Deferred()
        self.control.command("SLEEP", lambda: done, "wait", web=True)
        path = "/api/v1/commands/SLEEP"
        client = self.half_closed(request("POST", path, self.session(), headers=OWN_PAGE))
        self.assertFalse(client.is_closed)
        done.callback(None)
        self.assertEqual((client.statuses, client.is_closed), ([204], True))

    def test_half_a_request_is_none(self) -> None:
        client = self.half_closed(request()[:-2])
        self.assertEqual((client.received, client.is_closed), (b"", True))

    def test_a_half_close_ends_a_stream_of_events(self) -> None:
        client = self.half_closed(request(path="/api/v1/events", key=TOKEN))
        self.assertTrue(client.transport.aborted)


class AnythingTests(DoorTestCase):
    """Whatever is sent, nothing is raised, and the client costs nothing once it is gone."""

    # A busy machine is slow to think of pieces.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        pieces=st.lists(
            st.one_of(
                st.binary(max_size=200),
                st.sampled_from(
                    [
                        request(),
                        request("POST", "/api/v1/login", None, {"code": "x"}),
                        request("HEAD", "/metrics"),
                        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
                        b"Transfer-Encoding: chunked\r\n\r\n",
                        b"Content-Length: 5\r\n",
                        b"5\r\nhello\r\n",
                        b"0\r\n\r\n",
                        b"\r\n",
                        b"\r\n\r\n",
                        b"OPTIONS * HTTP/1.1\r\n\r\n",
                        b"GET http://evil.example/api/v1/status HTTP/1.1\r\n\r\n",
                        b"GET /%ff%00/..//?a=%ff&a HTTP/1.0\r\n\r\n",
                    ]
                ),
            ),
            max_size=8,
        ),
        ends=st.booleans(),
    )
    def test_no_input_raises_or_leaves_anything_behind(
        self, pieces: list[bytes], ends: bool
    ) -> None:
        client = self.connect()
        for piece in pieces:
            if not client.is_closed:
                client.send(piece)
        if ends:
            client.channel.readConnectionLost()
        self.clock.advance(1)
        client.close()
        self.assertEqual((self.clock.getDelayedCalls(), len(self.site._channels)), ([], 0))
        self.assertFalse(self.state.paused)
