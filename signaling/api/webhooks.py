"""Webhooks: how they do, what was given up, and delivering that once more."""

from fastapi import APIRouter, Response, status
from pydantic import AwareDatetime, Field

from signaling.api.caller import Admin
from signaling.api.fields import DeliveryId, View
from signaling.api.paging import DEFAULT_LIMIT, Limit

router = APIRouter(prefix="/api/admin/webhooks", tags=["admin"])


class EndpointView(View):
    """One receiver. Its URL is not told: it may be a secret."""

    endpoint_id: str
    queued: int
    breaker: str
    delivered: int
    failed_attempts: int
    dead_lettered: int
    overflowed: int
    last_error: str
    last_delivered_at: AwareDatetime | None


class EndpointList(View):
    """All receivers of the settings."""

    endpoints: list[EndpointView]


class DeadLetterView(View):
    """A delivery that was given up after its last attempt."""

    delivery_id: str
    event_type: str
    body: str = Field(description="what would have been sent: JSON")
    attempts: int
    last_error: str
    created_at: AwareDatetime
    given_up_at: AwareDatetime


class DeadLetterList(View):
    """The oldest dead letters."""

    dead_letters: list[DeadLetterView]


@router.get("", summary="Tell how webhooks do")
async def endpoints(who: Admin) -> EndpointList:
    """One entry a receiver."""
    return EndpointList(
        endpoints=[
            EndpointView(
                endpoint_id=each.endpoint_id,
                queued=each.queued,
                breaker=each.breaker.state.value,
                delivered=each.delivered,
                failed_attempts=each.failed_attempts,
                dead_lettered=each.dead_lettered,
                overflowed=each.overflowed,
                last_error=each.last_error,
                last_delivered_at=each.last_delivered_at,
            )
            for each in who.service.webhooks.statistics()
        ]
    )


@router.get("/dead-letters", summary="List deliveries that were given up")
async def dead_letters(who: Admin, limit: Limit = DEFAULT_LIMIT) -> DeadLetterList:
    """The oldest first. What is delivered after all is not in the list any more."""
    letters = await who.service.webhooks.dead_letters(limit=limit)
    return DeadLetterList(
        dead_letters=[
            DeadLetterView(
                delivery_id=letter.delivery_id,
                event_type=letter.event_type,
                body=letter.body,
                attempts=letter.attempts,
                last_error=letter.last_error,
                created_at=letter.created_at,
                given_up_at=letter.given_up_at,
            )
            for letter in letters
        ]
    )


@router.post(
    "/dead-letters/{delivery_id}/redeliver",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Deliver a dead letter once more",
    response_class=Response,
)
async def redeliver(who: Admin, delivery_id: DeliveryId) -> None:
    """Once and now; this is answered when the receiver has taken it, or has not (502)."""
    delivered = False
    try:
        await who.service.webhooks.redeliver(delivery_id)
        delivered = True
    finally:
        await who.record("webhook.redeliver", delivery_id, {"delivered": delivered})
