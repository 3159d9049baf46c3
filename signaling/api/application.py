"""The HTTP interface put together: every resource's routes, the errors, the documentation."""

from fastapi import APIRouter, FastAPI

from signaling.api import (
    bots,
    chat,
    companies,
    lobbies,
    names,
    operations,
    participants,
    sessions,
    system,
    tokens,
    webhooks,
)
from signaling.api.documentation import add_documentation
from signaling.api.errors import answer_with_problems
from signaling.report import Service

ROUTERS: tuple[APIRouter, ...] = (
    system.router,
    sessions.router,
    lobbies.router,
    chat.router,
    participants.router,
    bots.router,
    tokens.router,
    companies.router,
    names.router,
    operations.router,
    webhooks.router,
)


def add_api(app: FastAPI, service: Service) -> None:
    """Give an application the routes of the HTTP interface."""
    answer_with_problems(app, [route for router in ROUTERS for route in router.routes])
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(system.metrics_router(service))
    add_documentation(app)
