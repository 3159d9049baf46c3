"""A relay worker without a socket: one publisher, its subscribers, and the tables set by the relay's own commands."""

import secrets
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from bench.kernel_loops import repeat_forward
from bench.sockets import raw_address
from media.codecs import OPUS
from media.keys import PeerKeys
from media.operations import MAP_BYTES, MAP_PAYLOAD_TYPE_IN, MAP_PAYLOAD_TYPE_OUT, Operation
from media.ring import push_records
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from media.state import Capacity, SharedMemory, WorkerMemory
from media.tables import AUDIO, COMMAND, NO_PAYLOAD_TYPE, NONE, SOCKADDR_BYTES
from media.worker import run_worker

FAN_OUT: Final = 50
PAYLOAD_TYPE: Final = 111
PUBLISHER_ADDRESS: Final = ("10.0.0.1", 40_000)
SSRC: Final = 7  # as `bench.kernel_cases.rtp_packet` writes it
_CAPACITY: Final = Capacity(
    peers=64, tracks=1, inbound=1, outbound=64, history=1, commands=512, events=16, taps=2
)
_NO_DESCRIPTOR: Final = -1


class KernelWorker:
    """Made ready by being entered. *Owns*: the worker's memory and all SRTP contexts, until it is left."""

    profile: Final = SrtpProfile.AEAD_AES_128_GCM

    def __init__(self) -> None:
        self._owned = ExitStack()
        self._memory = WorkerMemory(
            worker=0,
            shared=SharedMemory(1, _CAPACITY),
            capacity=_CAPACITY,
            socket=_NO_DESCRIPTOR,
            wake_fd=_NO_DESCRIPTOR,
            event_fd=_NO_DESCRIPTOR,
            keyframe_interval_ns=0,
        )
        self._sockaddr = np.zeros(SOCKADDR_BYTES, np.uint8)
        self._sockaddr[:16] = np.frombuffer(raw_address(PUBLISHER_ADDRESS), np.uint8)
        self._scratch = np.zeros(2_048, np.uint8)
        key, salt = self._secret()[: self.profile.key_bytes], self._secret()[self.profile.key_bytes :]
        self._master = key + salt
        self.publisher = SrtpSession(self.profile, key, salt, SrtpDirection.OUTBOUND)

    def __enter__(self) -> Self:
        with ExitStack() as owned:
            owned.callback(self.publisher.close)
            self._open_peer(owned, 0, self._master)
            self._post(Operation.OPEN_TRACK, 0, AUDIO)
            self._post(Operation.OPEN_INBOUND, 0, 0, 0, SSRC, 48_000, NONE, 0, NONE, NONE, 0)
            for row in range(1, FAN_OUT + 1):
                self._open_peer(owned, row, self._secret())
                self._post(Operation.OPEN_OUTBOUND, row, row, 1_000 + row, 0, 0, 48_000, NONE, NONE, 0)
                self._post(Operation.SET_SOURCE, row, 0)
            self._post(Operation.STOP, 0)
            run_worker(self._memory.address)  # applies the commands, and returns
            self._owned = owned.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()

    def receive(self, datagrams: np.ndarray[Any, np.dtype[np.uint8]], length: int) -> int:
        """Receive the publisher's datagrams; return how many were queued for subscribers."""
        return repeat_forward(
            self._memory.address, datagrams, length, self._scratch, int(self._sockaddr.ctypes.data)
        )

    def _secret(self) -> bytes:
        return secrets.token_bytes(self.profile.key_bytes + self.profile.salt_bytes)

    def _open_peer(self, owned: ExitStack, row: int, remote: bytes) -> None:
        keys = PeerKeys(self.profile, remote, self._secret())
        owned.callback(keys.close)
        maps = np.zeros(MAP_BYTES, np.uint8)
        maps[MAP_PAYLOAD_TYPE_OUT:] = NO_PAYLOAD_TYPE
        maps[MAP_PAYLOAD_TYPE_IN + PAYLOAD_TYPE] = OPUS
        maps[MAP_PAYLOAD_TYPE_OUT + OPUS] = PAYLOAD_TYPE
        address = raw_address((f"10.0.0.{row + 1}", 40_000))
        self._post(Operation.OPEN_PEER, row, 1 + row)
        self._post(Operation.SET_MAPS, row, blob=maps.tobytes())
        self._post(Operation.SET_KEYS, row, *keys.values, blob=keys.blob)
        self._post(Operation.BIND_ADDRESS, row, 1, len(address), blob=address)

    def _post(self, operation: Operation, row: int, *values: int, blob: bytes = b"") -> None:
        command = np.zeros(1, COMMAND)
        command["operation"], command["row"], command["generation"] = operation, row, 1
        command["values"][0, : len(values)] = values
        command["blob"][0, : len(blob)] = np.frombuffer(blob, np.uint8)
        pushed = push_records(self._memory.commands, self._memory.command_cursors, command)
        assert pushed == 1
