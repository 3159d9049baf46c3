"""What an offered section and the relay have in common, and one peer's numbers for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from media.codecs import NO_CODEC, RTX
from media.tables import MAX_CODECS, MAX_EXTENSIONS, NO_PAYLOAD_TYPE
from relay.codecs import NEGOTIATED_EXTENSIONS
from relay.offered import OfferedCodec, OfferedSection

PAYLOAD_TYPES: Final = 128


class Negotiated(Protocol):
    """What was agreed for a section: any `relay.answer.Carried`."""

    @property
    def codecs(self) -> Sequence[OfferedCodec]:
        """In the client's order."""

    @property
    def extensions(self) -> Mapping[int, int]:
        """Canonical id -> the client's id."""


def negotiate_codecs(section: OfferedSection) -> tuple[OfferedCodec, ...]:
    """Return the codecs the relay carries, in the client's order, each canonical codec once."""
    supported: dict[int, OfferedCodec] = {}
    for codec in section.codecs:
        if codec.codec != NO_CODEC:
            supported.setdefault(codec.codec, codec)
    return tuple(supported.values())


def negotiate_extensions(section: OfferedSection) -> dict[int, int]:
    """Return the header extensions the relay carries, canonical id -> the client's id."""
    return {
        extension: wire_id
        for extension, wire_id in section.extensions.items()
        if extension in NEGOTIATED_EXTENSIONS
    }


@dataclass(frozen=True)
class PayloadMaps:
    """A peer's payload types and extension ids, both ways, as its row of `media.tables.PEER` wants them.

    Inward maps go from the client's number to the canonical one, outward maps back. Absent: 0 for canonical numbers
    and extension ids, NO_PAYLOAD_TYPE for payload types.
    """

    payload_type_in: bytes  # (128,) RTX for a payload type that carries retransmissions
    rtx_associated: bytes  # (128,) an RTX payload type -> the one it repairs
    payload_type_out: bytes  # (MAX_CODECS,)
    rtx_payload_type_out: bytes  # (MAX_CODECS,)
    extension_in: bytes  # (MAX_EXTENSIONS,)
    extension_out: bytes  # (MAX_EXTENSIONS,)

    @classmethod
    def of(cls, sections: Iterable[Negotiated]) -> "PayloadMaps":
        """Merge the carried sections of one peer.

        `parse_offer` has made sure that no number means two things. One thing may have two numbers (RFC 9143, 9.1
        allows opus to be 111 in one section and 109 in another, though no browser does it): both are understood, and
        the first is sent.
        """
        payload_type_in = bytearray([NO_CODEC]) * PAYLOAD_TYPES
        rtx_associated = bytearray([NO_PAYLOAD_TYPE]) * PAYLOAD_TYPES
        payload_type_out = bytearray([NO_PAYLOAD_TYPE]) * MAX_CODECS
        rtx_payload_type_out = bytearray([NO_PAYLOAD_TYPE]) * MAX_CODECS
        extension_in = bytearray(MAX_EXTENSIONS)
        extension_out = bytearray(MAX_EXTENSIONS)
        for section in sections:
            for codec in section.codecs:
                payload_type_in[codec.payload_type] = codec.codec
                if payload_type_out[codec.codec] == NO_PAYLOAD_TYPE:
                    payload_type_out[codec.codec] = codec.payload_type
                if codec.rtx_payload_type is None:
                    continue
                payload_type_in[codec.rtx_payload_type] = RTX
                rtx_associated[codec.rtx_payload_type] = codec.payload_type
                if payload_type_out[codec.codec] == codec.payload_type:
                    rtx_payload_type_out[codec.codec] = codec.rtx_payload_type
            for extension, wire_id in section.extensions.items():
                extension_in[wire_id] = extension
                extension_out[extension] = extension_out[extension] or wire_id
        return cls(
            payload_type_in=bytes(payload_type_in),
            rtx_associated=bytes(rtx_associated),
            payload_type_out=bytes(payload_type_out),
            rtx_payload_type_out=bytes(rtx_payload_type_out),
            extension_in=bytes(extension_in),
            extension_out=bytes(extension_out),
        )
