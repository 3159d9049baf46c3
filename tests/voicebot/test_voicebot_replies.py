"""Requests meet their replies."""

import pytest
import trio

from signaling.messages import CLIENT_MESSAGES, ErrorReply, Left, Ok, Ping, Pong
from voicebot import ConnectionLostError, ProtocolError
from voicebot.replies import REPLIES, Waiters

PONG = Pong.model_validate({"time": "2026-01-31T12:00:00Z"})


def test_every_request_has_a_reply() -> None:
    assert set(REPLIES) == set(CLIENT_MESSAGES.values())


async def test_replies_find_their_requests_in_any_order() -> None:
    waiters = Waiters()
    with waiters.expect(Ping()) as first, waiters.expect(Ping()) as second:
        assert first.request_id != second.request_id
        later = PONG.model_copy(update={"time": PONG.time.replace(year=2027)})
        waiters.decide(second.request_id, later)
        waiters.decide(first.request_id, PONG)
        assert await first.wait_reply() == PONG
        assert await second.wait_reply() == later


async def test_refusal_raises_with_its_code_and_field() -> None:
    waiters = Waiters()
    with waiters.expect(Ping()) as waiter:
        waiters.decide(waiter.request_id, ErrorReply(code="invalid_message", error="no", field="name"))
        with pytest.raises(ProtocolError, match="invalid_message: no") as raised:
            await waiter.wait_reply()
    assert (raised.value.code, raised.value.message, raised.value.field) == ("invalid_message", "no", "name")


async def test_reply_of_the_wrong_kind_raises() -> None:
    waiters = Waiters()
    with waiters.expect(Ping()) as waiter:
        waiters.decide(waiter.request_id, Left())
        with pytest.raises(ProtocolError, match="expected a reply `pong`, received `left`"):
            await waiter.wait_reply()


async def test_loss_ends_all_requests_under_way() -> None:
    waiters = Waiters()
    with waiters.expect(Ping()) as first, waiters.expect(Ping()) as second:
        waiters.decide(second.request_id, PONG)
        waiters.fail_all(ConnectionLostError("gone"))
        with pytest.raises(ConnectionLostError, match="gone"):
            await first.wait_reply()
        assert await second.wait_reply() == PONG


async def test_reply_to_a_cancelled_request_is_counted_and_dropped() -> None:
    waiters = Waiters()
    with trio.CancelScope() as scope, waiters.expect(Ping()) as waiter:
        scope.cancel()
        await waiter.wait_reply()
    waiters.decide(waiter.request_id, PONG)
    waiters.decide(999, Ok())
    assert waiters.late == 2
