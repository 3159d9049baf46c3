"""Puts what the relay says of overloaded workers on the bus, and so into the log: when it begins, and when it is over."""

import relay
from signaling import events
from signaling.bus import Bus


async def publish_overloads(router: relay.Router, bus: Bus) -> None:
    """Publish until cancelled."""
    async for event in router.overloads:
        match event:
            case relay.OverloadBegan():
                bus.publish(events.WorkerOverloaded(event.worker, round(event.wait_ms, 1)))
            case relay.OverloadEnded():
                bus.publish(
                    events.WorkerRecovered(
                        event.worker,
                        round(event.lasted_s, 1),
                        event.level,
                        sum(event.shed.values()),
                        dict(event.shed),
                    )
                )
