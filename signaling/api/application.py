"""The HTTP interface put together: every resource's routes, the errors, the documentation."""

from fastapi import APIRouter, FastAPI

from signaling.api import system
from signaling.api.errors import answer_with_problems
from signaling.report import Service

ROUTERS: tuple[APIRouter, ...] = (system.router,)


def add_api(app: FastAPI, service: Service) -> None:
    """Give an application the routes of the HTTP interface."""
    answer_with_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(system.metrics_router(service))
