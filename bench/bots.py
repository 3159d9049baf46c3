"""The scenario `bots`: what voicebots cost the relay, and how soon they hear, are heard, are silent, and come.

Order of events: delays are measured in a few lobbies of a person and a bot; bots are asked for and come; then many bots
talk and listen at once. All over real WebSockets, and the persons' sound over SRTP.
"""

import secrets
from contextlib import AsyncExitStack
from typing import Final

from bench.bots_delays import Delays, measure_delays
from bench.bots_dispatch import Dispatches, measure_dispatches
from bench.bots_load import BotsLoad, run_bots
from bench.bots_options import BotsOptions
from bench.bots_result import BotsCost, BotsResult, Spread
from bench.descriptors import allow_descriptors
from bench.join import peer_settings
from bench.machine import kept_to_client
from bench.progress import ProgressBars
from bench.server import RelayServer, open_relay_server
from relay.scheduling import favoured

MIXER: Final = "relay mixer"


async def run_bots_scenario(options: BotsOptions, progress: ProgressBars) -> BotsResult:
    """Carry out the scenario. Raises: BenchError, or the errors of `voicebot`."""
    allow_descriptors(options.connections)
    token = secrets.token_hex(32)
    settings = {
        "admin_token": token,
        "api_requests_per_minute": "1000000",
        "max_connections_per_address": str(options.connections + 100),
    }
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(
                open_relay_server(options.relay, options.connections, settings)
            )
        owned.enter_context(kept_to_client(options.relay.pinning))
        total = options.probes * (options.rounds + options.clears)
        # As people and bots with a machine of their own, as far as an ordinary thread can be.
        with progress.phase("delays", total) as phase, favoured():
            delays = await measure_delays(
                peer_settings(options.relay, options.profile, server),
                couples=options.probes,
                rounds=options.rounds,
                clears=options.clears,
                phase=phase,
            )
        with progress.phase("dispatch", max(1, options.dispatches)) as phase, favoured():
            dispatches = Dispatches()
            if options.dispatches:
                dispatches = await measure_dispatches(server, token, count=options.dispatches, phase=phase)
        load = None
        if options.bots:
            with progress.phase("bots", options.bots) as phase:
                load = await run_bots(
                    options.relay,
                    server,
                    bots=options.bots,
                    lobby_size=options.lobby_size,
                    duration_s=options.duration_s,
                    phase=phase,
                )
    return _result(options, server, delays, dispatches, load)


def _result(
    options: BotsOptions, server: RelayServer, delays: Delays, dispatches: Dispatches, load: BotsLoad | None
) -> BotsResult:
    all_ms = {
        "mouth_to_bot": _ms(delays.mouth_to_bot_ns),
        "bot_to_ear": _ms(delays.bot_to_ear_ns),
        "clear": _ms(delays.clear_ns),
        "clear_reply": _ms(delays.clear_reply_ns),
        "clear_error": [round(error, 3) for error in delays.clear_error_ms],
        "dispatch": _ms([each.total_ns for each in dispatches.made]),
        "dispatch_without_start": _ms([each.relay_ns for each in dispatches.made]),
        "own_start": _ms([each.own_start_ns for each in dispatches.made]),
        "to_offer": _ms([each.to_offer_ns for each in dispatches.made]),
        "to_sound": _ms([each.to_sound_ns for each in dispatches.made]),
    }
    return BotsResult(
        options=options.describe(),
        pinning=options.relay.pinning,
        cost=None if load is None else _cost(load, server),
        mouth_to_bot_ms=Spread.of(all_ms["mouth_to_bot"]),
        bot_to_ear_ms=Spread.of(all_ms["bot_to_ear"]),
        clear_ms=Spread.of(all_ms["clear"]),
        clear_reply_ms=Spread.of(all_ms["clear_reply"]),
        clear_error_ms=Spread.of([abs(error) for error in all_ms["clear_error"]]),
        dispatch_ms=Spread.of(all_ms["dispatch"]),
        dispatch_without_start_ms=Spread.of(all_ms["dispatch_without_start"]),
        own_start_ms=Spread.of(all_ms["own_start"]),
        to_offer_ms=Spread.of(all_ms["to_offer"]),
        to_sound_ms=Spread.of(all_ms["to_sound"]),
        missed=delays.missed,
        packets=delays.packets,
        packets_late=delays.packets_late,
        dispatches_failed=dispatches.failed,
        all_ms=all_ms,
    )


def _cost(load: BotsLoad, server: RelayServer) -> BotsCost:
    usage, counts = load.relay, load.counts

    def share(wanted: str) -> float:
        spent = sum(ns for name, ns in usage.threads_ns.items() if wanted in name)
        return spent / max(1, usage.elapsed_ns)

    return BotsCost(
        bots=load.bots,
        elapsed_s=load.elapsed_s,
        relay_share=usage.cpu_share,
        main_share=share(f"({server.pid})"),
        mixer_share=share(MIXER),
        client_share=load.client_share,
        frames=counts.frames,
        expected=load.expected,
        gaps=counts.gaps,
        silent=counts.silent,
        dropped=load.dropped,
        late_ms=Spread.of([late_ns / 1e6 for late_ns in counts.late_ns]),
        memory_bytes=usage.rss_bytes,
    )


def _ms(values_ns: list[int]) -> list[float]:
    return [round(value / 1e6, 3) for value in values_ns]
