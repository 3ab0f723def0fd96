"""What a receiver answers cannot hold up or fill the outbox: its status is looked at, and its body hardly."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from inspection.mes import http_push
from inspection.mes.http_push import HttpReceiver
from inspection.mes.receiver import Event, Stream, Undelivered

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENTS = [Event("st-1", Stream.LABELS, 1, datetime(2026, 1, 1, tzinfo=UTC), {"label": "dent"})]
ENDLESS = 64 * 2**20
"""So much is enough to show that somebody reads without end."""


class Raw:
    """Answers every request with the bytes of ``answer`` as they come, on a connection that stays open, until ``stop``."""

    def __init__(self, answer: Callable[[], Iterator[bytes]]) -> None:
        self.connections = 0
        self.sent = 0
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError), peer.makefile("rb") as requests:
            while line := requests.readline():
                length = 0
                while line.strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    line = requests.readline()
                requests.read(length)
                for piece in self._answer():
                    peer.sendall(piece)
                    self.sent += len(piece)

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[], Iterator[bytes]]], tuple[Raw, HttpReceiver]]]:
    """A receiver that answers so, and what delivers to it."""
    made: list[tuple[Raw, HttpReceiver]] = []

    def make(answer: Callable[[], Iterator[bytes]]) -> tuple[Raw, HttpReceiver]:
        raw = Raw(answer)
        made.append((raw, HttpReceiver(f"http://{raw.host}/events?token=hush", SECRET)))
        return made[-1]

    yield make
    for raw, receiver in made:
        receiver.close()
        raw.stop()


def endless() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n"
    for _ in range(ENDLESS // 2**16):
        yield bytes(2**16)


def test_a_body_without_end_is_left_unread(answering) -> None:
    raw, receiver = answering(endless)
    receiver.deliver(EVENTS)
    receiver.deliver(EVENTS)
    assert raw.sent < ENDLESS / 4
    assert raw.connections == 2


def test_a_body_is_never_unpacked(answering) -> None:
    _, receiver = answering(lambda: iter([b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip"]))
    receiver.deliver(EVENTS)


def test_a_body_that_does_not_come_holds_nothing_up(answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_push, "_BODY_S", 0.1)
    raw, receiver = answering(lambda: iter([b"HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\nlate"]))
    receiver.deliver(EVENTS)
    receiver.deliver(EVENTS)
    assert raw.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"ok":true}',
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{"ok":true}\r\n0\r\n\r\n',
    ],
    ids=["no body", "length", "chunked"],
)
def test_a_connection_with_short_answers_is_used_again(answering, answer: bytes) -> None:
    raw, receiver = answering(lambda: iter([answer]))
    for _ in range(3):
        receiver.deliver(EVENTS)
    assert raw.connections == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx: ", b""], ids=["header", "informational answers"])
def test_an_answer_that_comes_byte_by_byte_is_given_up_in_time(answering, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_push, "_DELIVERY_S", 0.5)
    given_up = threading.Event()

    def drip() -> Iterator[bytes]:
        yield head
        while not given_up.wait(0.05):
            yield b"x" if head else b"HTTP/1.1 102 Processing\r\n\r\n"

    _, receiver = answering(drip)
    guard = threading.Timer(10, given_up.set)
    guard.start()
    try:
        with pytest.raises(Undelivered, match=r"/events has not answered within 0\.5 s"):
            receiver.deliver(EVENTS)
    finally:
        given_up.set()
        guard.cancel()


def test_what_is_said_and_logged_names_no_secret_of_the_url(answering, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    raw, receiver = answering(lambda: iter([b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"]))
    with pytest.raises(Undelivered, match=f"^http://{raw.host}/events answered 503 Service Unavailable; it must answer 2xx$"):
        receiver.deliver(EVENTS)
    gone = HttpReceiver("http://127.0.0.1:9/events?token=hush", SECRET)
    with pytest.raises(Undelivered, match=r"^http://127\.0\.0\.1:9/events cannot be reached: \[Errno 111\]"):
        gone.deliver(EVENTS)
    gone.close()
    assert "hush" not in caplog.text
