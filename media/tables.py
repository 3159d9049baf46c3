"""The structured arrays of the data plane: one dtype per table, a line per field.

Single writer: all tables of a worker are written by that worker's kernel alone; the control plane sends commands and
reads counters racily. Row indices are given out by the control plane and are reused only after the worker has
acknowledged the command that retired them. `NONE` marks an absent row index; lists are chained through row indices.
Times are nanoseconds of CLOCK_MONOTONIC. Sequence numbers and timestamps wrap at 16 and 32 bits; they are kept in
int64 fields so that kernel arithmetic never mixes signedness, and are masked when stored.
"""

from typing import Final

import numpy as np

NONE: Final = -1

RECEIVE_BATCH: Final = 64  # datagrams per recvmmsg
RECEIVE_BYTES: Final = 2048  # longest datagram taken; anything longer is not WebRTC media
RECEIVE_STRIDE: Final = RECEIVE_BYTES + 64  # not a power of two: slots must not share the same cache sets
SEND_EAGERLY: Final = 128  # datagrams queued before they are sent, when one packet came in
SEND_BATCH: Final = 2048  # likewise when several did: enough of them to find runs to one destination
SEND_BUFFER_BYTES: Final = 512 * 1024  # queued datagrams; within a 1 MiB L2 cache
PACKET_BYTES: Final = 1536  # longest RTP packet forwarded, kept in a history or a tap
SEND_BYTES: Final = PACKET_BYTES + 160  # room in the send buffer for one packet and its SRTP trailer (144)
SOCKADDR_BYTES: Final = 32  # sockaddr_in6 (28) or sockaddr_in (16), padded
PEER_ADDRESSES: Final = 4  # validated addresses a peer may receive from while it roams
MAX_CODECS: Final = 32
MAX_EXTENSIONS: Final = 16
MAX_ELEMENTS: Final = 8  # header extension elements forwarded with one packet
HISTORY_SPAN: Final = 512  # sequence numbers per inbound stream that a NACK can reach back (a power of two)
MISSING_SPAN: Final = 32  # sequence numbers per inbound stream the relay asks a publisher for at one time
CNAME_BYTES: Final = 16
USERNAME_BYTES: Final = 64  # of the checks a worker answers itself; ours are 8 + 1 + the client's ufrag
NO_LEVEL: Final = 255  # the packet carried no RFC 6464 level
NO_PAYLOAD_TYPE: Final = 255

AUDIO_SLOTS: Final = 3  # speakers of a group that are heard at one time

AUDIO: Final = 0
VIDEO: Final = 1

PACKET = np.dtype(
    [
        ("arrival_ns", "i8"),  # when its batch was received
        ("ssrc", "i8"),  # as the publisher sent it
        ("timestamp", "i8"),  # RTP, publisher's clock
        ("sequence_number", "i8"),
        ("payload_type", "u1"),  # as the publisher sent it
        ("codec", "u1"),  # canonical codec id, media.codecs
        ("marker", "u1"),
        ("keyframe", "u1"),  # a decoder can start here
        ("level_dbov", "u1"),  # RFC 6464, 0 loud .. 127 silent; NO_LEVEL
        ("voiced", "u1"),  # RFC 6464 V flag
        ("speaking", "u1"),  # of video: its publisher was heard a moment ago
        ("two_byte", "u1"),  # elements are in the two-byte form of RFC 8285
        ("element_count", "u1"),
        ("element_offset", "u2", (MAX_ELEMENTS,)),  # of each element's id byte, from the start of the packet
        ("offset", "i4"),  # where the packet starts in the buffer that holds it
        ("length", "i4"),  # header, extensions, payload and padding
        ("header_length", "i4"),  # fixed header, CSRCs and extension block
        ("payload_length", "i4"),  # without padding
        (
            "mid_length",
            "u1",
        ),  # of the MID it named its stream by, 0 none; the text is in the worker's `names`
        ("rid_length", "u1"),  # likewise of the RID
    ],
    align=True,
)
"""One parsed RTP packet. After canonicalization its extension ids are canonical."""

PENDING = np.dtype(
    [
        ("base", "i8"),  # address of its bytes
        ("length", "i4"),
        ("peer", "i4"),  # row of the destination
        ("following", "i4"),  # 1 + index of the next one to the same destination, 0 none
        ("first", "i4"),  # 1 when it is the first to its destination
    ],
    align=True,
)
"""A protected datagram in the send queue."""

PEER = np.dtype(
    [
        # Read for every packet sent.
        ("srtp_send", "i8"),  # srtp_t; 0 until the DTLS handshake is done
        ("aead_send", "i8"),  # EVP_CIPHER_CTX for RTP with AEAD_AES_128_GCM; 0: libsrtp protects it
        ("salt_send", "u4", (4,)),  # its session salt, three words read big-endian
        ("address_length", "i8"),  # of the selected sockaddr; 0 until ICE selected one
        ("address", "u1", (SOCKADDR_BYTES,)),  # where packets to this peer go
        ("payload_type_out", "u1", (MAX_CODECS,)),  # canonical codec -> its payload type, NO_PAYLOAD_TYPE
        ("extension_out", "u1", (MAX_EXTENSIONS,)),  # canonical extension -> its id, 0 not negotiated
        ("packets_sent", "i8"),
        ("bytes_sent", "i8"),
        ("pending_last", "i8"),  # 1 + index of its latest datagram in the send queue, 0 none
        # Read for every packet received.
        ("srtp_receive", "i8"),
        ("last_received_ns", "i8"),  # last packet or check that passed authentication (consent, RFC 7675)
        ("packets_received", "i8"),
        ("bytes_received", "i8"),
        ("first_inbound", "i4"),
        ("first_outbound", "i4"),
        ("payload_type_in", "u1", (128,)),  # its payload type -> canonical codec, 0 not negotiated
        ("extension_in", "u1", (MAX_EXTENSIONS,)),  # its extension id -> canonical, 0 not negotiated
        # Read now and then.
        (
            "rtx_associated",
            "u1",
            (128,),
        ),  # its RTX payload type -> the payload type it repairs (RFC 4588 apt)
        ("rtx_payload_type_out", "u1", (MAX_CODECS,)),  # canonical codec -> its RTX payload type
        ("rtcp_ssrc", "i8"),  # the relay's own SSRC in reports to this peer
        ("unknown_reported_ns", "i8"),  # when an unknown SSRC of this peer was last punted
        ("retransmission_budget", "i8"),  # packets a NACK may still cost us before the next report tick
        ("punt_budget", "i8"),  # STUN and DTLS datagrams it may still have punted before the next report tick
        ("check_budget", "i8"),  # consent checks the worker may still answer before the next report tick
        ("last_check_ns", "i8"),  # last one it did answer, from the selected address; 0 none
        ("username_length", "i8"),  # 0: the worker answers no checks of this peer
        ("username", "u1", (USERNAME_BYTES,)),  # of its checks: our ufrag, a colon, its ufrag
        ("integrity_inner", "i8", (5,)),  # what our password makes of SHA-1's state: media.sha1
        ("integrity_outer", "i8", (5,)),
        ("strangers", "i8"),  # SSRCs no offer named that libsrtp keeps replay protection for
        ("clock_offset", "i8"),  # added to its NTP times to have them in the relay's, 32.32
        ("clock_known", "i8"),
        ("generation", "i8"),  # tells this use of the row from earlier ones; 0 free
        ("loud_ns", "i8"),  # when one of its audio tracks was last loud enough to be heard
        ("bound", "i8", (PEER_ADDRESSES, 3)),  # its address keys in the hash; first word 0: free
    ],
    align=True,
)
"""One transport. Owner: the worker it lives on."""

TRACK = np.dtype(
    [
        ("generation", "i8"),
        ("first_outbound", "i4"),  # head of the list of streams this track feeds
        ("active_inbound", "i4"),  # the stream that is forwarded; the latest one bound wins
        ("kind", "u1"),  # AUDIO or VIDEO
        ("muted", "u1"),
        ("shed", "u1"),  # the grade at which it is withheld from everybody, 0 not (media.overload)
        ("level_dbov", "f4"),  # smoothed RFC 6464 level; 127 silent
        ("level_ns", "i8"),  # when a level was last seen
        ("outbound_count", "i8"),
        # Audio slots, media.slots.
        ("group", "i4"),  # whose listeners here may come to hear it; NONE
        ("tap_group", "i4"),  # whose slots feed the other workers' listeners; NONE, for a mirror always
        ("has_held_slot", "u1"),  # so there may be routes that follow one of its streams
        (
            "prominence_millidb",
            "i8",
        ),  # its level: risen to at once, fallen from slowly; below 0 dBov, 127000 none
        ("prominence_ns", "i8"),  # when that was
        ("loud_ns", "i8"),  # when it was last loud enough to be heard
        ("pauses", "i8"),  # how often it was shed and resumed
    ],
    align=True,
)
"""One published track, or its mirror on a worker that has subscribers of a publisher elsewhere; or an audio slot, which
has routes but no streams of its own."""

GROUP = np.dtype(
    [
        ("slot", "i4", (AUDIO_SLOTS,)),  # the track whose routes are the slot's
        ("holder", "i4", (AUDIO_SLOTS,)),  # the track that goes out through it, or did last; NONE
        ("since_ns", "i8", (AUDIO_SLOTS,)),  # when the holder began
        ("heard_ns", "i8", (AUDIO_SLOTS,)),  # when there was last something to hear of the holder
    ],
    align=True,
)
"""Tracks that compete for the same audio slots, on one worker. One that is not in use has no track that names it."""

INBOUND = np.dtype(
    [
        ("ssrc", "i8"),
        ("generation", "i8"),
        ("next_of_peer", "i4"),
        ("peer", "i4"),  # NONE for a mirror
        ("track", "i4"),
        ("repairs", "i4"),  # for an RTX stream: the inbound stream it repairs; else NONE
        ("clock_rate", "i8"),  # Hz
        # Reception statistics, RFC 3550 A.1, A.3, A.8.
        ("started", "u1"),
        ("repairable", "u1"),  # packets are kept for NACKs of subscribers, and lost ones are asked for
        ("base_sequence", "i8"),
        ("highest_sequence", "i8"),  # extended by the number of wraps << 16
        ("received", "i8"),
        ("received_before", "i8"),  # at the previous report
        ("expected_before", "i8"),
        ("transit_ticks", "i8"),
        ("jitter_16ths", "i8"),  # interarrival jitter in ticks, times 16
        ("packets", "i8"),
        ("bytes", "i8"),
        # The publisher's latest sender report: the line that ties its RTP clock to wall time.
        ("report_ntp", "i8"),  # 32.32 fixed point, in the relay's time
        ("report_timestamp", "i8"),
        ("report_arrival_ns", "i8"),  # 0 none yet
        ("received_ntp_middle", "i8"),  # of the report as received: what LSR echoes
        # Keyframe requests, merged and throttled.
        ("keyframe_asked_ns", "i8"),
        ("keyframe_wanted", "u1"),
        # Sequence numbers missing upstream: asked for at once, then again.
        ("missing_count", "u1"),
        ("missing_attempts", "u1", (MISSING_SPAN,)),
        ("missing_sequence", "i4", (MISSING_SPAN,)),
        ("missing_asked_ns", "i8", (MISSING_SPAN,)),
        # For a mirror: where its publisher lives.
        ("origin_worker", "i4"),
        ("origin_inbound", "i4"),
        ("origin_generation", "i8"),
        ("tapped_stream", "i8"),  # which of the publisher's streams its numbering is of, 0 none yet
        ("pauses", "i8"),  # of its track there, as last heard
    ],
    align=True,
)
"""One SSRC a publisher sends: a layer of a track, or the RTX stream that repairs one."""

OUTBOUND = np.dtype(
    [
        # Read and written for every packet forwarded.
        ("next_of_track", "i4"),
        ("peer", "i4"),  # the subscriber; NONE when the destination is a tap
        ("inbound", "i4"),  # the stream the rewrite state belongs to; NONE before the first packet
        ("resync", "u1"),  # the next packet continues the numbering, whatever its own
        ("awaiting_keyframe", "u1"),
        ("guarded", "u1"),  # still close enough to a switch that older packets must be told apart
        ("started", "u1"),
        ("ssrc", "i8"),
        ("sequence_offset", "i8"),
        ("timestamp_offset", "i8"),
        ("last_sequence", "i8"),  # highest sent, extended by the number of wraps << 16: the SRTP packet index
        ("last_timestamp", "i8"),
        ("last_sent_ns", "i8"),
        ("packets_sent", "i8"),
        ("payload_bytes_sent", "i8"),
        ("switch_sequence", "i8"),  # first source sequence number since the last switch
        # Read now and then.
        ("generation", "i8"),
        ("track", "i4"),  # the source; NONE when parked
        ("previous_of_track", "i4"),
        ("next_of_peer", "i4"),
        ("previous_of_peer", "i4"),
        ("rtx_ssrc", "i8"),  # 0: repairs are sent on the stream itself
        ("rtx_sequence", "i8"),  # likewise
        ("codec", "i8"),  # of the last packet sent
        ("clock_rate", "i8"),
        ("report_ntp_middle", "i8"),  # of the last sender report sent, to find the round trip from LSR
        ("report_sent_ns", "i8"),
        ("fraction_lost", "i8"),  # as the subscriber reported, 0..255
        ("round_trip_ns", "i8"),
        ("cname", "u1", (CNAME_BYTES,)),
        # For a tap: the mirror it feeds.
        ("link_worker", "i4"),
        ("link_inbound", "i4"),
        ("link_generation", "i8"),
    ],
    align=True,
)
"""One stream the relay sends; while `track` names a source, it is that track's route."""

ADDRESS = np.dtype([("key", "i8", (3,)), ("peer", "i8")], align=True)
"""A slot of the open-addressing hash from source address to peer; `peer` holds row + 1, 0 empty."""

HISTORY = np.dtype([("meta", PACKET), ("inbound", "i8"), ("data", "u1", (PACKET_BYTES,))], align=True)
"""A packet kept for NACKs, in canonical form; `inbound` is the generation of its stream."""

TAP_PACKET: Final = 0
TAP_KEYFRAME_REQUEST: Final = 1
TAP_SENDER_REPORT: Final = 2
TAP_SWITCH: Final = 3

TAP = np.dtype(
    [
        ("kind", "i4"),
        ("inbound", "i4"),  # the row it is for, at the reader
        ("generation", "i8"),
        ("stream", "i8"),  # generation of the publisher's stream it is from, at the writer
        ("resumes", "i8"),  # 1: what the stream sent before this packet was withheld, not lost
        ("report_ntp", "i8"),
        ("report_timestamp", "i8"),
        ("report_arrival_ns", "i8"),
        ("pauses", "i8"),  # of the track: when it grows, what lies between the packets was shed, not lost
        # Of a switch: the stream that takes another track, and the row of the inbound stream whose track it leaves.
        ("outbound", "i4"),
        ("origin", "i4"),
        ("outbound_generation", "i8"),
        ("meta", PACKET),
        ("data", "u1", (PACKET_BYTES,)),
    ],
    align=True,
)
"""What workers tell each other, decrypted packets one way and keyframe requests the other; and what mixers send them."""

COMMAND_BLOB_BYTES: Final = 352

COMMAND = np.dtype(
    [
        ("operation", "i8"),  # media.operations.Operation
        ("row", "i8"),
        ("generation", "i8"),
        ("values", "i8", (10,)),
        ("blob", "u1", (COMMAND_BLOB_BYTES,)),
    ],
    align=True,
)

EVENT_DATAGRAM: Final = 1
EVENT_UNKNOWN_STREAM: Final = 2

EVENT = np.dtype(
    [
        ("kind", "i4"),
        ("peer", "i4"),  # row, NONE when the source is unknown
        ("length", "i4"),
        ("payload_type", "i4"),
        ("time_ns", "i8"),
        ("ssrc", "i8"),
        ("address", "u1", (SOCKADDR_BYTES,)),
        ("data", "u1", (RECEIVE_BYTES,)),
    ],
    align=True,
)
"""What a worker leaves to the control plane."""

RING_CURSOR_WORDS: Final = 32
RING_WRITTEN: Final = 0  # index of the producer's count; its own cache line
RING_READ: Final = 16  # index of the consumer's count, two lines further: adjacent lines are fetched in pairs

CONTEXT = np.dtype(
    [
        # Fixed for the life of the worker.
        ("worker", "i8"),
        ("workers", "i8"),  # those with rings between them: mixers too
        ("socket", "i8"),
        ("wake_fd", "i8"),  # eventfd the worker sleeps on
        ("event_fd", "i8"),  # eventfd Trio waits on
        ("peer_capacity", "i8"),
        ("track_capacity", "i8"),
        ("inbound_capacity", "i8"),
        ("outbound_capacity", "i8"),
        ("group_capacity", "i8"),
        ("address_mask", "i8"),
        ("history_capacity", "i8"),
        ("keyframe_interval_ns", "i8"),
        # Addresses of the arrays. The control plane keeps them alive until the kernel has returned.
        ("peers", "i8"),
        ("tracks", "i8"),
        ("inbound", "i8"),
        ("outbound", "i8"),
        ("groups", "i8"),
        ("addresses", "i8"),
        ("history", "i8"),
        ("history_index", "i8"),  # int32 [inbound_capacity][HISTORY_SPAN]: history row + 1
        ("counters", "i8"),  # int64 [VERDICT_COUNT]
        ("commands", "i8"),
        ("command_cursors", "i8"),
        ("command_mask", "i8"),
        ("events", "i8"),
        ("event_cursors", "i8"),
        ("event_mask", "i8"),
        ("taps", "i8"),  # TAP [writer][reader][tap_mask + 1]
        ("tap_cursors", "i8"),
        ("tap_mask", "i8"),
        ("sleep_flags", "i8"),  # int64 [workers][8]: 1 while that worker sleeps or is about to
        ("wake_fds", "i8"),  # int64 [workers]
        ("receive_bytes", "i8"),
        ("receive_addresses", "i8"),
        ("receive_messages", "i8"),
        ("send_bytes", "i8"),
        ("send_pending", "i8"),  # PENDING [SEND_BATCH]
        ("send_vectors", "i8"),
        ("send_messages", "i8"),
        ("send_controls", "i8"),  # SEGMENT_CONTROL [SEND_BATCH]
        ("poll", "i8"),
        ("clock", "i8"),
        ("packet_length", "i8"),  # int32 [1], in and out of libsrtp
        ("wake_count", "i8"),  # int64 [2]: what is written to eventfds, and where they are read to
        ("iv", "i8"),  # 12 bytes: the nonce at hand
        ("key", "i8"),  # int64 [3]: the address key at hand
        ("names", "i8"),  # 64 bytes: MID and RID of the packet at hand
        ("packet", "i8"),  # PACKET: the one at hand
        ("report", "i8"),  # PACKET_BYTES: where RTCP is composed
        ("block", "i8"),  # int64 [8]: the RTCP packet at hand
        ("wanted", "i8"),  # int64 [8]: sequence numbers on their way into a NACK
        ("digest", "i8"),  # int64 [5]: the SHA-1 state at hand
        ("schedule", "i8"),  # int64 [16]: the SHA-1 block at hand
        ("socket_memory", "i8"),  # int32 [10]: what getsockopt(SO_MEMINFO) says, and the length of it
        # Written by the worker.
        ("now_ns", "i8"),  # read once per batch
        ("wall_offset_ns", "i8"),  # to add to now_ns for the NTP time scale
        ("peer_limit", "i8"),  # one past the highest row in use
        ("inbound_limit", "i8"),
        ("track_limit", "i8"),
        ("send_count", "i8"),
        ("send_limit", "i8"),  # datagrams at which the queue is flushed
        ("segmentation", "i8"),  # 1 while the system takes runs to one destination as one (UDP_SEGMENT)
        ("send_cursor", "i8"),  # bytes used in the send buffer
        ("history_cursor", "i8"),
        ("events_pending", "i8"),  # events written since Trio was last woken
        ("acknowledgement_pending", "i8"),
        ("stun_tokens", "i8"),  # checks from unknown sources that may still be punted before the next tick
        ("open_peers", "i8"),
        ("next_tick_ns", "i8"),
        ("report_cursor", "i8"),  # next peer row due for reports
        ("repairs_pending", "i8"),  # 1 while some inbound stream wants a keyframe or a retransmission
        ("stopping", "i8"),
        ("batches", "i8"),  # recvmmsg calls that returned something
        ("sleeps", "i8"),
        ("busy_ns", "i8"),  # time not asleep, up to the last tick or sleep
        ("awake_since_ns", "i8"),  # from when on it is not in busy_ns yet
        ("received", "i8"),  # datagrams
        # Priority (media.priority).
        ("real_time_wanted", "i8"),  # 1 until the system has refused it
        ("real_time", "i8"),  # 1 while the thread is a real-time one
        ("priority_since_ns", "i8"),  # start of the window, and the thread's processor time then
        ("priority_cpu_ns", "i8"),
        ("calm_windows", "i8"),  # in a row
        # Overload (media.overload).
        ("shedding", "i8"),  # packets of this grade and below go to nobody; 0: all are forwarded
        ("shed_tracks", "i8"),  # tracks withheld, also those that still wait for their turn to come back
        ("wait_ns", "i8"),  # the shortest wait in the receive queue during the last window
        ("shortest_wait_ns", "i8"),  # likewise, of the window that runs
        ("window_start_ns", "i8"),
        ("window_busy_ns", "i8"),  # busy_ns, copies and received when it began
        ("window_copies", "i8"),
        ("window_received", "i8"),
        ("tap_pressed", "i8"),  # a tap towards this worker was nearly full
        ("socket_drops", "i8"),  # datagrams the socket had no room for
        ("overloaded_windows", "i8"),  # in a row, since the level last changed
        ("reference_wait_ns", "i8"),  # the wait in the overloaded window before
        ("calm_since_ns", "i8"),  # no overload since then
        ("calm_busy_ns", "i8"),  # busy_ns at that time
        ("lowered_ns", "i8"),  # when the level was last lowered, and from which; 0 if it was raised since
        ("lowered_from", "i8"),
        ("hold_doublings", "i8"),  # of the time a level is held
        ("resume_cursor", "i8"),  # track resumed last
        ("resumed_permille", "i8"),  # how busy the worker was then; 1000: none since the last overload
    ],
    align=True,
)
"""All a worker kernel needs, behind one pointer: kernels pass it on in one register."""
