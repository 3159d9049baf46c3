"""AEAD_AES_128_GCM protection of RTP straight from OpenSSL's cipher, for what the relay sends (RFC 3711, RFC 7714).

libsrtp makes the same bytes, at twice the price: it looks the stream up by SSRC and shifts a replay window, and the
relay knows both already (an outbound stream's row is its stream, and its numbering only grows). Receiving, RTCP and the
other profile stay with libsrtp.

No key stream may ever be used for two packets. A sender's packet index is therefore refused when it is further
behind the highest one than a repeat may be; a repeat within that span is the same packet from the history.
"""

import ctypes
from typing import Any, Final

import numpy as np
from llvmlite import binding
from numba.core import types

from media.jit import helper, integer
from media.memory import bytes_at
from media.native import libsrtp
from media.rtp import EXTENSION_HEADER_BYTES, FIXED_HEADER_BYTES, read_u8, read_u16, read_u32, write_u32
from media.tables import HISTORY_SPAN

KEY_BYTES: Final = 16
SALT_BYTES: Final = 12
TAG_BYTES: Final = 16
IV_BYTES: Final = 12

LABEL_ENCRYPTION: Final = 0  # RFC 3711 section 4.3.2
LABEL_SALT: Final = 2

EVP_CTRL_AEAD_GET_TAG: Final = 16  # openssl/evp.h

for _name in ("EVP_CipherInit_ex", "EVP_Cipher", "EVP_CIPHER_CTX_ctrl"):
    _address = ctypes.cast(getattr(libsrtp, _name), ctypes.c_void_p).value
    assert _address is not None
    binding.add_symbol(_name, _address)

_cipher_init: Any = types.ExternalFunction(
    "EVP_CipherInit_ex",
    types.int32(types.uintp, types.uintp, types.uintp, types.uintp, types.uintp, types.int32),
)
_cipher: Any = types.ExternalFunction(
    "EVP_Cipher", types.int32(types.uintp, types.uintp, types.uintp, types.uint32)
)
_cipher_control: Any = types.ExternalFunction(
    "EVP_CIPHER_CTX_ctrl", types.int32(types.uintp, types.int32, types.int32, types.uintp)
)

_new_context = ctypes.CFUNCTYPE(ctypes.c_void_p)(("EVP_CIPHER_CTX_new", libsrtp))
_free_context = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(("EVP_CIPHER_CTX_free", libsrtp))
_init_context = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_int,
)(("EVP_CipherInit_ex", libsrtp))
_update = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)(
    ("EVP_Cipher", libsrtp)
)
_aes_128_gcm = ctypes.CFUNCTYPE(ctypes.c_void_p)(("EVP_aes_128_gcm", libsrtp))
_aes_128_ctr = ctypes.CFUNCTYPE(ctypes.c_void_p)(("EVP_aes_128_ctr", libsrtp))


class AeadContext:
    """The cipher of one peer's outbound RTP: an EVP_CIPHER_CTX that kernels use by address.

    `key` and `salt` are the session key and salt (`derive_session_keys`). An EVP_CIPHER_CTX is not thread-safe: once
    handed to a worker it is that worker's, until it has acknowledged the command that takes it away.

    *Raises*: ValueError for a key or salt of the wrong length.
    *Owns*: the EVP_CIPHER_CTX, until `close`.
    """

    def __init__(self, key: bytes, salt: bytes) -> None:
        if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise ValueError(
                f"AES-128-GCM takes a session key of {KEY_BYTES} bytes and a salt of {SALT_BYTES}, "
                f"got {len(key)} and {len(salt)}"
            )
        self.salt = salt
        self.address = _make_context(_aes_128_gcm(), key, None)

    def close(self) -> None:
        """Free the context now. Idempotent."""
        address, self.address = self.address, 0
        _free_context(address)  # takes a null pointer too


def derive_session_keys(master_key: bytes, master_salt: bytes) -> tuple[bytes, bytes]:
    """Session key and salt of RTP for AEAD_AES_128_GCM, from the master key (16 bytes) and master salt (12).

    *Source*: RFC 3711 section 4.3.3 with a key derivation rate of 0; RFC 7714 section 11: the salt is padded on the
    right to the 14 bytes that AES-CM takes.
    """
    padded = int.from_bytes(master_salt.ljust(14, b"\0"), "big")

    def derive(label: int, length: int) -> bytes:
        counter = ((padded ^ label << 48) << 16).to_bytes(16, "big")
        context = _make_context(_aes_128_ctr(), master_key, counter)
        stream = ctypes.create_string_buffer(length)
        _update(context, stream, bytes(length), length)
        _free_context(context)
        return stream.raw

    return derive(LABEL_ENCRYPTION, KEY_BYTES), derive(LABEL_SALT, SALT_BYTES)


def _make_context(cipher: Any, key: bytes, iv: bytes | None) -> int:
    address = _new_context()
    if not address or _init_context(address, cipher, None, key, iv, 1) != 1:
        raise MemoryError("OpenSSL could not make a cipher context")
    return int(address)


@helper
def packet_index(highest: int, sequence_number: int) -> int:
    """The 48-bit index of a packet to be sent, given the highest index sent so far; -1 when it is too old to repeat.

    *Source*: RFC 3711 section 3.3.1.
    """
    index = highest + ((sequence_number - highest + 0x8000) & 0xFFFF) - 0x8000
    return index if index > highest - HISTORY_SPAN else integer(-1)


@helper
def protect_rtp(context: Any, peer: Any, place: int, length: int, index: int) -> int:
    """Encrypt the RTP packet at `place` with the peer's `aead_send`, in place. Needs TAG_BYTES behind it.

    *Returns*: the length with the tag; 0 for an index below 0 and when OpenSSL fails.
    *Source*: RFC 7714 sections 8.1 (IV), 8.2 and 9.2: header, CSRCs and extension are authenticated, the rest
    encrypted as well.
    """
    if index < 0:
        return integer(0)
    packet = bytes_at(place, length)
    header = FIXED_HEADER_BYTES + 4 * (read_u8(packet, 0) & 0x0F)
    if read_u8(packet, 0) & 0x10 != 0:
        header += EXTENSION_HEADER_BYTES + 4 * read_u16(packet, header + 2)
    iv = bytes_at(context.iv, IV_BYTES)
    salt = peer.salt_send
    ssrc = read_u32(packet, 8)
    # 16 zero bits, SSRC, and the index of 48 bits.
    write_u32(iv, 0, integer(salt[0]) ^ ssrc >> 16)
    write_u32(iv, 4, integer(salt[1]) ^ (ssrc << 16 & 0xFFFFFFFF | index >> 32 & 0xFFFF))
    write_u32(iv, 8, integer(salt[2]) ^ (index & 0xFFFFFFFF))
    cipher = peer.aead_send
    payload = place + header
    end = place + length
    failed = _cipher_init(cipher, 0, 0, 0, context.iv, np.int32(1)) != 1
    failed |= _cipher(cipher, 0, place, np.uint32(header)) < 0
    failed |= _cipher(cipher, payload, payload, np.uint32(length - header)) < 0
    failed |= _cipher(cipher, 0, 0, np.uint32(0)) < 0
    failed |= _cipher_control(cipher, np.int32(EVP_CTRL_AEAD_GET_TAG), np.int32(TAG_BYTES), end) != 1
    return integer(0) if failed else length + TAG_BYTES
