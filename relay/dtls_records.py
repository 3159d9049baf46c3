"""DTLS 1.2 records as bytes: where they begin and end, and how they fill datagrams (RFC 6347 section 4.1).

OpenSSL's memory BIO forgets where one datagram ended and the next began; the record headers tell it again. What is no
record of DTLS 1.2 is taken out before OpenSSL sees it, because an unknown type would end a handshake there.
Nothing here decrypts.
"""

from collections.abc import Iterable
from typing import Final

HEADER_BYTES: Final = 13
_LENGTH_OFFSET: Final = 11
_CONTENT_TYPES: Final = frozenset({20, 21, 22, 23})  # change_cipher_spec, alert, handshake, application_data
_VERSION_MAJOR: Final = 0xFE  # of 1.0 (0xFEFF), which a first ClientHello may carry, and 1.2 (0xFEFD)


def split_records_untrusted(data: bytes) -> list[bytes]:
    """Return the whole DTLS 1.2 records that `data` begins with, in order; empty when it begins with none.

    What follows the first thing that is not one is dropped, as RFC 6347 section 4.1.2.7 advises.
    """
    records = []
    position = 0
    while position + HEADER_BYTES <= len(data):
        body = position + _LENGTH_OFFSET
        end = body + 2 + int.from_bytes(data[body : body + 2])
        if data[position] not in _CONTENT_TYPES or data[position + 1] != _VERSION_MAJOR or end > len(data):
            break
        records.append(data[position:end])
        position = end
    return records


def pack_datagrams(records: Iterable[bytes], limit_bytes: int) -> list[bytes]:
    """Put records, in order, into as few datagrams as hold them; a record alone over the limit goes alone."""
    datagrams: list[bytes] = []
    for record in records:
        if datagrams and len(datagrams[-1]) + len(record) <= limit_bytes:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams
