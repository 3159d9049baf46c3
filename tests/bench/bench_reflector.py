"""A relay for tests: decrypts what one publisher sends and encrypts it for each subscriber, with faults on request."""

import secrets
import socket
import threading
from contextlib import ExitStack

from bench.generator import Receiver, Sender
from bench.payload import PayloadKind
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession

SSRC = 7


def unchanged(_sequence, packet):
    return [packet]


class Reflector:
    """`fault(sequence number, RTP packet)` returns the packets that subscribers get for it, in order."""

    def __init__(self, owned: ExitStack, subscribers, profile, fault=unchanged):
        self._fault = fault
        self._owned = owned
        self._profile = profile
        self._media = self._socket()
        address = self._media.getsockname()
        self._from_publisher, publisher_session = self._session_pair()
        self._publisher = self._socket(connect=address)
        self.sender = Sender(self._publisher.fileno(), publisher_session.address, SSRC, 111)
        self.receivers = []
        self._towards = []
        self._addresses = []
        for _ in range(subscribers):
            receiving, sending = self._session_pair()
            subscriber = self._socket(connect=address)
            self.receivers.append(Receiver(subscriber.fileno(), receiving.address))
            self._towards.append(sending)
            self._addresses.append(subscriber.getsockname())
        thread = threading.Thread(target=self._reflect)
        thread.start()
        owned.callback(thread.join)
        owned.callback(lambda: self._publisher.send(b"stop"))

    def _socket(self, connect=None):
        media = self._owned.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        media.bind(("127.0.0.1", 0))
        if connect is not None:
            media.connect(connect)
            media.setblocking(False)
        return media

    def _session_pair(self):
        key = secrets.token_bytes(self._profile.key_bytes)
        salt = secrets.token_bytes(self._profile.salt_bytes)
        return tuple(
            self._owned.enter_context(SrtpSession(self._profile, key, salt, direction))
            for direction in (SrtpDirection.INBOUND, SrtpDirection.OUTBOUND)
        )

    def _reflect(self):
        while (datagram := self._media.recv(2048)) != b"stop":
            if datagram[0] < 128:  # a consent check: answered with anything of the STUN range
                continue
            packet = self._from_publisher.unprotect(datagram)
            for out in self._fault(int.from_bytes(packet[2:4], "big"), packet):
                for session, address in zip(self._towards, self._addresses, strict=True):
                    self._media.sendto(session.protect(out), address)


__all__ = ["PayloadKind", "Reflector", "SrtpProfile", "unchanged"]
