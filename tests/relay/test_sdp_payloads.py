"""The merged numbers of a peer."""

import dataclasses

import pytest
from willing_answer import SAMPLES, answer_sections, carry

from media import codecs
from media.tables import MAX_CODECS, MAX_EXTENSIONS, NO_PAYLOAD_TYPE
from relay.answer import Carried
from relay.offer import parse_offer
from relay.payloads import PayloadMaps


def maps_of(name: str) -> PayloadMaps:
    offer = parse_offer(SAMPLES[name])
    return PayloadMaps.of(carry(section) for section in offer.sections if section.bundled and section.is_rtp)


def test_chromium_numbers_are_merged_over_its_sections() -> None:
    maps = maps_of("chromium_publish_subscribe")
    assert maps.payload_type_in[111] == codecs.OPUS
    assert maps.payload_type_in[96] == codecs.VP8
    assert maps.payload_type_in[97] == codecs.RTX
    assert maps.payload_type_in[63] == codecs.NO_CODEC  # red
    assert maps.rtx_associated[97] == 96
    assert maps.rtx_associated[96] == NO_PAYLOAD_TYPE
    assert maps.payload_type_out[codecs.OPUS] == 111
    assert maps.rtx_payload_type_out[codecs.OPUS] == NO_PAYLOAD_TYPE
    assert maps.payload_type_out[codecs.H264_CONSTRAINED_BASELINE] == 108
    assert maps.rtx_payload_type_out[codecs.H264_CONSTRAINED_BASELINE] == 109
    assert maps.payload_type_out[codecs.H264_HIGH] == NO_PAYLOAD_TYPE
    assert maps.payload_type_out[codecs.RTX] == NO_PAYLOAD_TYPE
    assert maps.extension_in[1] == codecs.AUDIO_LEVEL
    assert maps.extension_in[4] == codecs.MID
    assert maps.extension_in[3] == codecs.NO_EXTENSION  # transport-wide: declined
    assert maps.extension_out[codecs.VIDEO_ORIENTATION] == 13
    assert maps.extension_out[codecs.DEPENDENCY_DESCRIPTOR] == 0


@pytest.mark.parametrize("name", SAMPLES)
def test_inward_and_outward_maps_are_inverse(name: str) -> None:
    maps = maps_of(name)
    assert len(maps.payload_type_in) == len(maps.rtx_associated) == 128
    assert len(maps.payload_type_out) == len(maps.rtx_payload_type_out) == MAX_CODECS
    assert len(maps.extension_in) == len(maps.extension_out) == MAX_EXTENSIONS
    for codec, payload_type in enumerate(maps.payload_type_out):
        if payload_type != NO_PAYLOAD_TYPE:
            assert maps.payload_type_in[payload_type] == codec
    for codec, payload_type in enumerate(maps.rtx_payload_type_out):
        if payload_type != NO_PAYLOAD_TYPE:
            assert maps.payload_type_in[payload_type] == codecs.RTX
            assert maps.rtx_associated[payload_type] == maps.payload_type_out[codec]
    for extension, wire_id in enumerate(maps.extension_out):
        if wire_id:
            assert maps.extension_in[wire_id] == extension


def test_nothing_negotiated_gives_empty_maps() -> None:
    maps = PayloadMaps.of([])
    assert maps.payload_type_in == bytes(128)
    assert set(maps.rtx_associated) == set(maps.payload_type_out) == set(maps.rtx_payload_type_out) == {255}
    assert maps.extension_in == maps.extension_out == bytes(MAX_EXTENSIONS)


def test_a_codec_with_two_payload_types_is_understood_by_both_and_sent_by_the_first() -> None:
    section = carry(parse_offer(SAMPLES["chromium_simulcast"]).sections[0])
    vp8 = section.codecs[0]
    other = dataclasses.replace(vp8, payload_type=60, rtx_payload_type=61)
    plain = dataclasses.replace(vp8, payload_type=62, rtx_payload_type=None)
    later = dataclasses.replace(section, codecs=(other, plain), extensions={codecs.MID: 12})
    maps = PayloadMaps.of([section, later])
    assert [maps.payload_type_in[payload_type] for payload_type in (96, 60, 62)] == [codecs.VP8] * 3
    assert (maps.payload_type_out[codecs.VP8], maps.rtx_payload_type_out[codecs.VP8]) == (96, 97)
    assert (maps.rtx_associated[97], maps.rtx_associated[61]) == (96, 60)
    assert maps.extension_in[12] == maps.extension_in[section.extensions[codecs.MID]] == codecs.MID
    assert maps.extension_out[codecs.MID] == section.extensions[codecs.MID]


def test_a_repair_of_another_payload_type_is_not_sent_for_the_first() -> None:
    section = carry(parse_offer(SAMPLES["obs_whip"]).sections[1])
    first = section.codecs[0]
    repaired = dataclasses.replace(first, payload_type=60, rtx_payload_type=61)
    maps = PayloadMaps.of([section, dataclasses.replace(section, codecs=(repaired,))])
    assert maps.payload_type_out[first.codec] == first.payload_type
    assert maps.rtx_payload_type_out[first.codec] == NO_PAYLOAD_TYPE


def test_refused_sections_have_no_numbers() -> None:
    offer = parse_offer(SAMPLES["chromium_data_channel"])
    assert [isinstance(section, Carried) for section in answer_sections(offer)] == [True, True, True, False]
