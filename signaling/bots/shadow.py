"""What the store keeps of bots, so that they outlive the server: what was asked for, who runs it, who it is in its lobby.

After a restart a bot that was in its lobby is *active* again and its provider *away*, as after a lost connection: both
come back by themselves, or the bot is given to another. A bot that was on its way is asked for anew.
"""

from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from signaling.bots.bot import Bot, BotRequest
from signaling.bots.provider import Provider
from signaling.storage import BotRecord

#: Of a bot, as kept.
_COUNTERS = ("offers", "joins", "messages", "failures", "reassignments", "active_seconds")
#: Fields of a request that the lobby knows better.
_OF_LOBBY = frozenset({"lobby_id", "lobby", "company_id"})
_KEPT = tuple(each.name for each in fields(BotRequest) if each.name not in _OF_LOBBY)


def record_of(bot: Bot, provider: Provider | None, now: float) -> BotRecord:
    """Return what is kept of a bot, and of its provider if it has one."""
    request = asdict(bot.request)
    view = bot.view(now)
    return BotRecord(
        bot_id=bot.bot_id,
        lobby_id=bot.request.lobby_id,
        requested_at=bot.requested_at,
        request={name: request[name] for name in _KEPT},
        provider=None
        if provider is None
        else {
            "provider_id": provider.provider_id,
            "name": provider.name,
            "company_id": provider.company_id,
            "token_digest": provider.token_digest.hex(),
        },
        participant_id=bot.participant_id,
        joined_at=view.joined_at,
        counters={name: getattr(view, name) for name in _COUNTERS},
    )


def bot_of(record: BotRecord, *, lobby: str, company_id: str, now: float, at: datetime) -> Bot:
    """Return the bot of a record, in no state yet; ``at`` is the time of day at ``now``.

    Raises: KeyError, TypeError, ValueError for a record of another version that is not understood.
    """
    request = BotRequest(
        lobby_id=record.lobby_id,
        lobby=lobby,
        company_id=company_id,
        **{name: record.request[name] for name in _KEPT},
    )
    bot = Bot(
        record.bot_id,
        request,
        requested_at=record.requested_at,
        requested_time=now - (at - record.requested_at) / timedelta(seconds=1),
    )
    if record.joined_at is not None:
        bot.first_joined = now - (at - record.joined_at) / timedelta(seconds=1)
    for name in _COUNTERS:
        value: Any = record.counters.get(name, 0)
        setattr(bot, name, float(value) if name == "active_seconds" else int(value))
    return bot
