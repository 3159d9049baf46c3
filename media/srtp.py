"""SRTP sessions: libsrtp contexts that Python makes and frees, and kernels use by address.

A session belongs to one direction of one peer. Kernels call libsrtp with `SrtpSession.address` (`media.native`); a
libsrtp context is not thread-safe, so only the worker the peer lives on may do that, and `close` must wait until that
worker has acknowledged that it no longer will.
"""

from enum import Enum
from types import TracebackType
from typing import Any, Self

import pylibsrtp
from pylibsrtp._binding import ffi

from media.tables import HISTORY_SPAN

RECEIVE_WINDOW_PACKETS = 1024
"""How far behind the newest a packet may arrive: RTX and reordering at high packet rates need more than libsrtp's 128."""

SEND_WINDOW_PACKETS = HISTORY_SPAN
"""How far behind the newest a packet may be repeated under its own number: as far as the history goes, and no further.

libsrtp shifts the whole window for every packet it protects (2 % of the relay's CPU at 1,024; `perf` under `relay bench
forward`)."""


class SrtpProfile(Enum):
    """SRTP protection profiles: what DTLS calls them and how long their parts are."""

    AEAD_AES_128_GCM = (0x0007, "SRTP_AEAD_AES_128_GCM", 16, 12, 16)  # RFC 7714 section 14.2
    AES128_CM_SHA1_80 = (0x0001, "SRTP_AES128_CM_SHA1_80", 16, 14, 10)  # RFC 5764 section 4.1.2

    def __init__(
        self, number: int, openssl_name: str, key_bytes: int, salt_bytes: int, tag_bytes: int
    ) -> None:
        self.number = number  # IANA's, as in the use_srtp extension
        self.openssl_name = openssl_name
        self.key_bytes = key_bytes  # of the master key
        self.salt_bytes = salt_bytes  # of the master salt
        self.tag_bytes = tag_bytes  # what protection adds to an RTP packet; 4 more (the index) for RTCP


class SrtpDirection(Enum):
    """Whether a session protects what we send or unprotects what we receive."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


_POLICY_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
_SSRC_TYPES = {
    SrtpDirection.INBOUND: pylibsrtp.Policy.SSRC_ANY_INBOUND,
    SrtpDirection.OUTBOUND: pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
}


class SrtpSession:
    """A libsrtp context for one direction of one peer, for any number of SSRCs.

    `key` and `salt` are the master key and salt of RFC 3711. `allow_repeat_tx` lets an outbound session protect the
    same sequence number again, which retransmission on the original SSRC needs; the packet must then be the same.

    Raises: ValueError for a key or salt of the wrong length. pylibsrtp.Error from the four packet functions.
    Owns: the libsrtp context, until `close`. Usable as a context manager.
    """

    def __init__(
        self,
        profile: SrtpProfile,
        key: bytes,
        salt: bytes,
        direction: SrtpDirection,
        *,
        allow_repeat_tx: bool = False,
    ) -> None:
        if len(key) != profile.key_bytes or len(salt) != profile.salt_bytes:
            raise ValueError(
                f"{profile.name} takes a key of {profile.key_bytes} bytes and a salt of {profile.salt_bytes}, "
                f"got {len(key)} and {len(salt)}"
            )
        policy = pylibsrtp.Policy(
            key=key + salt, ssrc_type=_SSRC_TYPES[direction], srtp_profile=_POLICY_PROFILES[profile]
        )
        inbound = direction is SrtpDirection.INBOUND
        policy.window_size = RECEIVE_WINDOW_PACKETS if inbound else SEND_WINDOW_PACKETS
        policy.allow_repeat_tx = allow_repeat_tx
        self.profile = profile
        self.direction = direction
        self._session: Any = pylibsrtp.Session(policy)

    @property
    def address(self) -> int:
        """The `srtp_t` for kernels; 0 after `close`."""
        if self._session is None:
            return 0
        return int(ffi.cast("uintptr_t", self._session._srtp[0]))  # noqa: SLF001 - pylibsrtp shows it nowhere else

    def close(self) -> None:
        """Free the context now. Idempotent.

        Left to garbage collection, contexts that live until the interpreter exits are freed after the library has
        been torn down, which prints a traceback.
        """
        session, self._session = self._session, None
        if session is not None:
            ffi.release(session._srtp)  # noqa: SLF001

    def protect(self, packet: bytes) -> bytes:
        """Return the SRTP packet of an RTP packet (at most 1,356 bytes)."""
        return bytes(self._open().protect(packet))

    def unprotect(self, packet: bytes) -> bytes:
        """Return the RTP packet of an SRTP packet (at most 1,500 bytes)."""
        return bytes(self._open().unprotect(packet))

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Return the SRTCP packet of a compound RTCP packet (at most 1,352 bytes)."""
        return bytes(self._open().protect_rtcp(packet))

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Return the compound RTCP packet of an SRTCP packet (at most 1,500 bytes)."""
        return bytes(self._open().unprotect_rtcp(packet))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Any:
        if self._session is None:
            raise ValueError("the SRTP session is closed")
        return self._session
