"""SRTP as RFC 3711 and RFC 7714 tell it: slow and obvious, on the primitives of `cryptography`.

The vectors of the RFCs pin this twin; this twin pins libsrtp, as Python and as kernels call it.
"""

import hmac
import struct
from dataclasses import dataclass

import rtp_twin
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

RTP_LABELS = (0, 1, 2)  # encryption, authentication, salting; RFC 3711 section 4.3.1
RTCP_LABELS = (3, 4, 5)


def aes_cm(key: bytes, iv: int, data: bytes) -> bytes:
    """AES in counter mode from a 128 bit counter block (RFC 3711 section 4.1.1)."""
    return Cipher(AES(key), CTR(iv.to_bytes(16, "big"))).encryptor().update(data)


def derive(master_key: bytes, master_salt: bytes, label: int, size: int) -> bytes:
    """RFC 3711 section 4.3.1 with a key derivation rate of 0. A short salt (GCM) has zeros behind it."""
    salt = int.from_bytes(master_salt.ljust(14, b"\0"), "big")
    return aes_cm(master_key, (salt ^ label << 48) << 16, bytes(size))


@dataclass
class SessionKeys:
    cipher_key: bytes
    cipher_salt: bytes
    authentication_key: bytes = b""


def session_keys(master_key: bytes, master_salt: bytes, labels) -> SessionKeys:
    encryption, authentication, salting = labels
    return SessionKeys(
        derive(master_key, master_salt, encryption, len(master_key)),
        derive(master_key, master_salt, salting, len(master_salt)),
        derive(master_key, master_salt, authentication, 20),
    )


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def gcm_rtp(keys: SessionKeys, packet: bytes, rollovers: int) -> bytes:
    """RFC 7714 sections 8 and 9: the header is authenticated, the rest encrypted, the tag behind."""
    header = rtp_twin.parse(packet)
    iv = struct.pack("!xxLLH", header.ssrc, rollovers, header.sequence_number)
    clear, secret = packet[: header.header_length], packet[header.header_length :]
    return clear + AESGCM(keys.cipher_key).encrypt(xor(iv, keys.cipher_salt), secret, clear)


def gcm_rtcp(keys: SessionKeys, packet: bytes, index: int) -> bytes:
    """RFC 7714 section 9.2: the index, with the E flag, is authenticated too and goes last."""
    (ssrc,) = struct.unpack_from("!L", packet, 4)
    flagged = struct.pack("!L", 1 << 31 | index)
    iv = struct.pack("!xxLxxL", ssrc, index)
    encrypted = AESGCM(keys.cipher_key).encrypt(xor(iv, keys.cipher_salt), packet[8:], packet[:8] + flagged)
    return packet[:8] + encrypted + flagged


def cm_iv(keys: SessionKeys, ssrc: int, index: int) -> int:
    return int.from_bytes(keys.cipher_salt, "big") << 16 ^ ssrc << 64 ^ index << 16


def cm_rtp(keys: SessionKeys, packet: bytes, rollovers: int) -> bytes:
    """RFC 3711 sections 3.1, 4.1.1 and 4.2.1, with a tag of 80 bits."""
    header = rtp_twin.parse(packet)
    iv = cm_iv(keys, header.ssrc, rollovers << 16 | header.sequence_number)
    clear, secret = packet[: header.header_length], packet[header.header_length :]
    protected = clear + aes_cm(keys.cipher_key, iv, secret)
    authenticated = protected + struct.pack("!L", rollovers)
    return protected + hmac.digest(keys.authentication_key, authenticated, "sha1")[:10]


def cm_rtcp(keys: SessionKeys, packet: bytes, index: int) -> bytes:
    """RFC 3711 section 3.4."""
    (ssrc,) = struct.unpack_from("!L", packet, 4)
    protected = packet[:8] + aes_cm(keys.cipher_key, cm_iv(keys, ssrc, index), packet[8:])
    protected += struct.pack("!L", 1 << 31 | index)
    return protected + hmac.digest(keys.authentication_key, protected, "sha1")[:10]


class Sender:
    """Protects packets of one master key; keeps the rollover counter and the RTCP index of each SSRC."""

    def __init__(self, master_key: bytes, master_salt: bytes, *, gcm: bool):
        self._rtp_keys = session_keys(master_key, master_salt, RTP_LABELS)
        self._rtcp_keys = session_keys(master_key, master_salt, RTCP_LABELS)
        self._rtp, self._rtcp = (gcm_rtp, gcm_rtcp) if gcm else (cm_rtp, cm_rtcp)
        self._highest: dict[int, int] = {}
        self._rtcp_index: dict[int, int] = {}

    def protect(self, packet: bytes) -> bytes:
        header = rtp_twin.parse(packet)
        highest = self._highest.get(header.ssrc, header.sequence_number)
        # The index nearest to the highest one so far (RFC 3711 section 3.3.1).
        rollovers = highest >> 16
        candidates = [
            each << 16 | header.sequence_number for each in (rollovers - 1, rollovers, rollovers + 1)
        ]
        index = min((each for each in candidates if each >= 0), key=lambda each: abs(each - highest))
        self._highest[header.ssrc] = max(highest, index)
        return self._rtp(self._rtp_keys, packet, index >> 16)

    def protect_rtcp(self, packet: bytes) -> bytes:
        (ssrc,) = struct.unpack_from("!L", packet, 4)
        index = self._rtcp_index[ssrc] = self._rtcp_index.get(ssrc, 0) + 1
        return self._rtcp(self._rtcp_keys, packet, index)
