"""The table of formats and the canonical numbers behind it."""

import pytest

from media import codecs
from media.tables import MAX_CODECS, MAX_EXTENSIONS
from relay.codecs import (
    EXTENSION_IDS,
    EXTENSION_URIS,
    FORMATS,
    NEGOTIATED_EXTENSIONS,
    PARAMETER_DEFAULTS,
    canonical_codec,
    parse_format_parameters,
)


def test_formats_cover_every_canonical_codec_once() -> None:
    assert sorted(each.codec for each in FORMATS) == sorted(codecs.CLOCK_RATE_HZ)
    for each in FORMATS:
        assert each.clock_rate == codecs.CLOCK_RATE_HZ[each.codec]
        assert (each.codec in codecs.AUDIO_CODECS) == (each.kind == "audio")
        assert set(each.parameters) <= set(PARAMETER_DEFAULTS)


def test_canonical_numbers_fit_the_tables_of_the_kernels() -> None:
    assert all(codecs.NO_CODEC < codec < codecs.RTX < MAX_CODECS for codec in codecs.CLOCK_RATE_HZ)
    assert all(codecs.NO_EXTENSION < extension <= 14 < MAX_EXTENSIONS for extension in EXTENSION_URIS)
    assert len(EXTENSION_IDS) == len(EXTENSION_URIS)
    assert set(NEGOTIATED_EXTENSIONS) <= set(EXTENSION_URIS)
    assert not set(codecs.FORWARDED_EXTENSIONS) & set(codecs.CONSUMED_EXTENSIONS)


@pytest.mark.parametrize(
    ("kind", "rtpmap", "fmtp", "codec"),
    [
        ("audio", ("opus", 48_000, 2), "minptime=10;useinbandfec=1", codecs.OPUS),
        ("audio", ("OPUS", 48_000, 2), "", codecs.OPUS),
        ("audio", ("opus", 48_000, 1), "", codecs.NO_CODEC),
        ("audio", ("opus", 16_000, 2), "", codecs.NO_CODEC),
        ("video", ("opus", 48_000, 2), "", codecs.NO_CODEC),
        ("audio", ("PCMU", 8_000, 1), "", codecs.NO_CODEC),
        ("video", ("VP8", 90_000, None), "max-fs=12288;max-fr=60", codecs.VP8),
        ("video", ("VP9", 90_000, None), "", codecs.VP9_PROFILE_0),
        ("video", ("VP9", 90_000, None), "profile-id=0", codecs.VP9_PROFILE_0),
        ("video", ("VP9", 90_000, None), "profile-id=1", codecs.NO_CODEC),
        ("video", ("VP9", 90_000, None), "profile-id=2", codecs.VP9_PROFILE_2),
        ("video", ("AV1", 90_000, None), "level-idx=5;profile=0;tier=0", codecs.AV1),
        ("video", ("AV1", 90_000, None), "", codecs.AV1),
        ("video", ("AV1", 90_000, None), "profile=1", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "", codecs.H264_SINGLE_NAL_CONSTRAINED_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=1", codecs.H264_CONSTRAINED_BASELINE),
        ("video", ("H264", 90_000, None), "Packetization-Mode=1; Profile-Level-Id=42E01F", codecs.H264_CONSTRAINED_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=42e034", codecs.H264_CONSTRAINED_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=42c015", codecs.H264_CONSTRAINED_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=42001f", codecs.H264_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=0;profile-level-id=42001f", codecs.H264_SINGLE_NAL_BASELINE),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=4d001f", codecs.H264_MAIN),
        ("video", ("H264", 90_000, None), "packetization-mode=0;profile-level-id=4d001f", codecs.H264_SINGLE_NAL_MAIN),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=640c1f", codecs.H264_CONSTRAINED_HIGH),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=640034", codecs.H264_HIGH),
        ("video", ("H264", 90_000, None), "packetization-mode=0;profile-level-id=64001f", codecs.H264_SINGLE_NAL_HIGH),
        ("video", ("H264", 90_000, None), "packetization-mode=0;profile-level-id=640c1f", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=f4001f", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=7a001f", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "packetization-mode=2;profile-level-id=42e01f", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=42e0", codecs.NO_CODEC),
        ("video", ("H264", 90_000, None), "packetization-mode=1;profile-level-id=zzzzzz", codecs.NO_CODEC),
        ("video", ("H265", 90_000, None), "", codecs.NO_CODEC),
    ],
)  # fmt: skip
def test_a_format_has_the_codec_its_parameters_say(
    kind: str, rtpmap: tuple[str, int, int | None], fmtp: str, codec: int
) -> None:
    assert canonical_codec(kind, *rtpmap, parse_format_parameters(fmtp)) == codec


def test_format_parameters_are_read_when_written_untidily() -> None:
    assert parse_format_parameters(" minptime=10 ; UseInbandFEC=1;;0-15; a=b=c ") == {
        "minptime": "10",
        "useinbandfec": "1",
        "0-15": "",
        "a": "b=c",
    }
