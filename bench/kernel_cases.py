"""What `relay bench kernels` times: each kernel on packets as browsers send them, and its naive twin on the same.

Each side of a case is prepared for a number of rounds, which is not timed, and then does them. The SRTP contexts live
as long as the scope of `open_cases`.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import numpy as np

from bench import kernel_loops, naive
from bench.kernel_worker import FAN_OUT, PAYLOAD_TYPE, PUBLISHER_ADDRESS, SSRC, KernelWorker
from bench.payload import VP8_KEYFRAME
from bench.sockets import raw_address
from bench.sound_cases import sound_cases
from media.aead import AeadContext, derive_session_keys
from media.codecs import AUDIO_LEVEL, FORWARDED_EXTENSIONS, MID, TRANSPORT_WIDE, VP8
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from media.tables import ADDRESS, CONTEXT, INBOUND, MAX_EXTENSIONS, PACKET, PEER, SOCKADDR_BYTES

Uint8Array = np.ndarray[Any, np.dtype[np.uint8]]

GCM: Final = SrtpProfile.AEAD_AES_128_GCM
UNPROTECT_ROUNDS: Final = 4_000
VARIANTS: Final = 64  # packets in turn
PEERS: Final = 1_000
SLOT_BYTES: Final = 2_048
FORWARDED: Final = frozenset(FORWARDED_EXTENSIONS)
EXTENSION_IDS: Final = {1: AUDIO_LEVEL, 3: TRANSPORT_WIDE, 4: MID}
EXTENSIONS: Final = bytes.fromhex("bede0003 10d3 310001 4030 0000000000".replace(" ", ""))
"""What Chromium sends with audio: level, transport-wide number, MID."""

Rounds = Callable[[], int]
"""Does its rounds, and returns how many packets came out right."""

Prepare = Callable[[int], Rounds]


@dataclass(frozen=True)
class Case:
    """One kernel and its twin. `per_round`: how many packets a round makes."""

    name: str
    kernel: Prepare
    twin: Prepare
    kernel_rounds: int = 20_000
    twin_rounds: int = 2_000
    per_round: int = 1


@contextmanager
def open_cases() -> Iterator[list[Case]]:
    """Make everything the cases need."""
    with ExitStack() as owned:
        cases = [_parse(), _canonicalize(), _find(), _reception(), _keyframe()]
        for profile in SrtpProfile:
            for size in (120, 1_200):
                cases += [_protect(owned, profile, size), _unprotect(profile, size)]
        cases.append(_forward(owned))
        cases += [Case(name, fast, slow, rounds, rounds) for name, fast, slow, rounds in sound_cases()]
        yield cases


def warm_up() -> None:
    """Compile all that the cases run, or load it from the cache. Blocks."""
    with open_cases() as cases:
        for case in cases:
            case.kernel(1)()


def rtp_packet(sequence_number: int, size: int, extensions: bytes = b"", payload: bytes = b"") -> bytes:
    """Return a packet of `size` bytes."""
    header = bytes([0x90 if extensions else 0x80, PAYLOAD_TYPE]) + (sequence_number & 0xFFFF).to_bytes(
        2, "big"
    )
    timestamp = (sequence_number * 960 & 0xFFFFFFFF).to_bytes(4, "big")
    packet = header + timestamp + SSRC.to_bytes(4, "big") + extensions + payload
    return packet + bytes(index & 0xFF for index in range(size - len(packet)))


def _rows(packets: Sequence[bytes]) -> Uint8Array:
    rows = np.zeros((len(packets), SLOT_BYTES), np.uint8)
    for row, packet in zip(rows, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    return rows


def _repeated(kernel: Callable[..., int], *arguments: Any) -> Prepare:
    return lambda rounds: partial(kernel, *arguments, rounds)


def _each(function: Callable[[Any], bool], inputs: Sequence[Any]) -> Prepare:
    def prepare(rounds: int) -> Rounds:
        chosen = [inputs[index % len(inputs)] for index in range(rounds)]
        return lambda: sum(1 for each in chosen if function(each))

    return prepare


def _parse() -> Case:
    packets = [rtp_packet(index, 120, EXTENSIONS) for index in range(VARIANTS)]
    kernel = _repeated(kernel_loops.repeat_parse, _rows(packets), 120, np.zeros(1, PACKET))
    return Case("parse_rtp", kernel, _each(lambda packet: naive.parse_rtp(packet) is not None, packets))


def _canonicalize() -> Case:
    packets = [rtp_packet(index, 120, EXTENSIONS) for index in range(VARIANTS)]
    extension_in = np.zeros(MAX_EXTENSIONS, np.uint8)
    for number, canonical in EXTENSION_IDS.items():
        extension_in[number] = canonical
    kernel = _repeated(
        kernel_loops.repeat_canonicalize,
        *(_rows(packets), 120, np.zeros(1, PACKET), extension_in),
        *(np.zeros(64, np.uint8), np.zeros(SLOT_BYTES, np.uint8)),
    )

    def twin(packet: bytes) -> bool:
        return naive.canonicalize_extensions(packet, EXTENSION_IDS, FORWARDED)[1] == 1

    return Case("parse_rtp and extensions", kernel, _each(twin, packets))


def _find() -> Case:
    slots, key, context = np.zeros(1 << 14, ADDRESS), np.zeros(3, np.int64), np.zeros(1, CONTEXT)
    context["addresses"], context["address_mask"] = slots.ctypes.data, slots.size - 1
    context["key"] = key.ctypes.data
    sources = [(f"10.0.{index >> 8}.{index & 0xFF}", 40_000 + index) for index in range(PEERS)]
    sockaddrs = np.zeros((PEERS, SOCKADDR_BYTES), np.uint8)
    for row, source in zip(sockaddrs, sources, strict=True):
        row[:16] = np.frombuffer(raw_address(source), np.uint8)
    bound = kernel_loops.bind_all(int(context.ctypes.data), sockaddrs)
    assert bound == PEERS

    def kernel(rounds: int, _owned: object = (slots, key)) -> Rounds:
        return partial(kernel_loops.repeat_find, int(context.ctypes.data), sockaddrs, rounds)

    peers = {source: row for row, source in enumerate(sources)}
    return Case("find_peer, of 1,000", kernel, _each(lambda source: peers.get(source) is not None, sources))


def _reception() -> Case:
    packet, inbound, context = np.zeros(1, PACKET), np.zeros(1, INBOUND), np.zeros(1, CONTEXT)
    packet["length"] = 120
    inbound["clock_rate"] = 48_000
    context["packet"], context["inbound"] = packet.ctypes.data, inbound.ctypes.data

    def kernel(rounds: int, _owned: object = (packet, inbound)) -> Rounds:
        return partial(kernel_loops.repeat_reception, int(context.ctypes.data), rounds)

    def twin(rounds: int) -> Rounds:
        reception = naive.Reception()
        return lambda: sum(
            reception.update(index & 0xFFFF, index * 960, index * 20_000_000) for index in range(rounds)
        )

    return Case("update_reception", kernel, twin)


def _keyframe() -> Case:
    payload = b"\x90\x80\x81\x23" + VP8_KEYFRAME[1:]  # a picture id of 15 bits, as Chromium sends it
    packets = [rtp_packet(index, 200, payload=payload) for index in range(VARIANTS)]
    kernel = _repeated(kernel_loops.repeat_keyframe, _rows(packets), 12, 200, VP8)
    payloads = [packet[12:] for packet in packets]
    return Case("is_keyframe, VP8", kernel, _each(naive.is_vp8_keyframe, payloads))


def _protect(owned: ExitStack, profile: SrtpProfile, size: int) -> Case:
    key, salt = secrets.token_bytes(profile.key_bytes), secrets.token_bytes(profile.salt_bytes)
    template, scratch = np.frombuffer(rtp_packet(0, size), np.uint8), np.zeros(SLOT_BYTES, np.uint8)
    fast, slow = (
        owned.enter_context(SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND)) for _ in range(2)
    )
    by_libsrtp = partial(kernel_loops.repeat_protect, fast.address, template, scratch, np.zeros(1, np.int32))
    repeat = _aead_loop(owned, key, salt, template, scratch) if profile is GCM else by_libsrtp
    fast_numbers, slow_numbers = count(), count()

    def kernel(rounds: int) -> Rounds:
        first = next(fast_numbers) * rounds  # a number is never used twice
        return partial(repeat, first, rounds)

    def twin(rounds: int) -> Rounds:
        first = next(slow_numbers) * rounds
        packets = [rtp_packet(index, size) for index in range(first, first + rounds)]
        return lambda: sum(1 for packet in packets if len(slow.protect(packet)) > size)

    return Case(f"protect, {_name(profile)}, {size:,} B", kernel, twin)


def _aead_loop(
    owned: ExitStack, key: bytes, salt: bytes, template: Uint8Array, scratch: Uint8Array
) -> Callable[[int, int], int]:
    cipher = AeadContext(*derive_session_keys(key, salt))
    owned.callback(cipher.close)
    iv, context, peer = np.zeros(12, np.uint8), np.zeros(1, CONTEXT), np.zeros(1, PEER)
    context["iv"], peer["aead_send"] = iv.ctypes.data, cipher.address
    peer["salt_send"][0, :3] = np.frombuffer(cipher.salt, ">u4")

    def loop(first: int, rounds: int, _owned: object = iv) -> int:
        return kernel_loops.repeat_protect_aead(
            int(context.ctypes.data), int(peer.ctypes.data), template, scratch, first, rounds
        )

    return loop


def _unprotect(profile: SrtpProfile, size: int) -> Case:
    key, salt = secrets.token_bytes(profile.key_bytes), secrets.token_bytes(profile.salt_bytes)
    scratch, lengths = np.zeros(SLOT_BYTES, np.uint8), np.zeros(1, np.int32)
    with SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND) as sender:
        datagrams = [sender.protect(rtp_packet(index, size)) for index in range(UNPROTECT_ROUNDS)]
    rows, length = _rows(datagrams), len(datagrams[0])

    # A session for every repeat: each datagram may be received once.
    def kernel(rounds: int) -> Rounds:
        session = SrtpSession(profile, key, salt, SrtpDirection.INBOUND)

        def unprotect() -> int:
            with session:
                return kernel_loops.repeat_unprotect(session.address, rows[:rounds], length, scratch, lengths)

        return unprotect

    def twin(rounds: int) -> Rounds:
        session = SrtpSession(profile, key, salt, SrtpDirection.INBOUND)

        def unprotect() -> int:
            with session:
                return sum(1 for each in datagrams[:rounds] if len(session.unprotect(each)) == size)

        return unprotect

    name = f"unprotect, {_name(profile)}, {size:,} B"
    return Case(name, kernel, twin, kernel_rounds=UNPROTECT_ROUNDS)


def _forward(owned: ExitStack) -> Case:
    """Everything between `recvmmsg` and `sendmmsg`, per packet queued."""
    worker = owned.enter_context(KernelWorker())
    profile, size = worker.profile, 120
    numbers, naive_numbers = count(), count()
    sessions = [owned.enter_context(_new_session(profile, SrtpDirection.OUTBOUND)) for _ in range(FAN_OUT)]
    key, salt = secrets.token_bytes(profile.key_bytes), secrets.token_bytes(profile.salt_bytes)
    sender = owned.enter_context(SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND))
    inbound = owned.enter_context(SrtpSession(profile, key, salt, SrtpDirection.INBOUND))
    relay = naive.Relay(inbound, list(enumerate(sessions, start=1_000)), {PUBLISHER_ADDRESS: "publisher"})

    def kernel(rounds: int) -> Rounds:
        first = next(numbers) * rounds
        datagrams = [
            worker.publisher.protect(rtp_packet(index, size)) for index in range(first, first + rounds)
        ]
        return partial(worker.receive, _rows(datagrams), len(datagrams[0]))

    def twin(rounds: int) -> Rounds:
        first = next(naive_numbers) * rounds
        datagrams = [sender.protect(rtp_packet(index, size)) for index in range(first, first + rounds)]
        return lambda: sum(len(relay.receive(each, PUBLISHER_ADDRESS, 0)) for each in datagrams)

    name = f"one packet to {FAN_OUT}, unsent"
    return Case(name, kernel, twin, kernel_rounds=400, twin_rounds=40, per_round=FAN_OUT)


def _new_session(profile: SrtpProfile, direction: SrtpDirection) -> SrtpSession:
    key, salt = secrets.token_bytes(profile.key_bytes), secrets.token_bytes(profile.salt_bytes)
    return SrtpSession(profile, key, salt, direction)


def _name(profile: SrtpProfile) -> str:
    return "GCM" if profile is GCM else "CM"
