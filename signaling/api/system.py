"""How the server is: for load balancers, monitoring and people. Open to everybody, and quick."""

from typing import Any, Literal

import trio
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

import relay
from signaling.api.caller import call_of
from signaling.metrics import CONTENT_TYPE, Metrics
from signaling.process import process_statistics
from signaling.readiness import live as alive
from signaling.report import Service
from signaling.version import server_version


class Managers(BaseModel):
    """Parts of the service; that they answer is all this says."""

    session_manager: Literal["active"] = "active"
    lobby_manager: Literal["active"] = "active"
    auth_manager: Literal["active"] = "active"
    websocket_manager: Literal["active"] = "active"


class Statistics(BaseModel):
    """How many there are now."""

    sessions: int
    lobbies: int
    protected_names: int


class Used(BaseModel):
    """So many of so many."""

    used: int
    limit: int


class WorkerLoad(BaseModel):
    """One media worker."""

    peers: int
    busy_share: float = Field(description="share of its core, from 0 to 1")
    shedding: int = Field(description="0: it keeps up; above, what it leaves out")
    shed_tracks: int


class CapacityView(BaseModel):
    """The room there is for media."""

    accepting: bool
    refusal: str | None = Field(description="why newcomers get no media")
    peers: Used
    outbound_streams: Used
    workers: list[WorkerLoad]


class Health(BaseModel):
    """That the service runs, how many use it, and how many more may."""

    status: Literal["ok"] = "ok"
    architecture: Literal["modular"] = "modular"
    version: str
    managers: Managers = Managers()
    statistics: Statistics
    capacity: CapacityView


class Live(BaseModel):
    """That there is an answer."""

    status: Literal["live"]


class Ready(BaseModel):
    """Whether new clients should come here; ``degraded`` still takes them."""

    status: Literal["ready", "degraded", "down"]
    reasons: list[str]
    checks: dict[str, dict[str, Any]]


router = APIRouter(prefix="/api/system", tags=["system"])


@router.get("/health", summary="Tell that the service runs, and how many use it")
async def health(request: Request) -> Health:
    """Always 200 while the process serves; see `ready` for whether it should get new clients."""
    service = call_of(request).service
    return Health(
        version=server_version(),
        statistics=Statistics(
            sessions=len(service.sessions),
            lobbies=len(service.lobbies),
            protected_names=len(service.access.names),
        ),
        capacity=CapacityView.model_validate(capacity(service.router.statistics())),
    )


@router.get("/live", summary="Tell that the process answers")
async def live() -> Live:
    """For a supervisor: no answer means that the process should be restarted."""
    return Live.model_validate(alive())


@router.get(
    "/ready",
    summary="Tell whether new clients should come here",
    responses={503: {"model": Ready, "description": "New clients should go elsewhere; those here go on."}},
    response_model=Ready,
)
async def ready(request: Request) -> Response:
    """Ask the database, the media workers, the disk and the event loop. 200 while it is `ready` or `degraded`."""
    report = await call_of(request).service.readiness.report()
    return JSONResponse(report.content(), report.http_status)


@router.get("/info", summary="Tell what the process uses and what the relay does")
async def info(request: Request) -> dict[str, Any]:
    """Figures for people; programs read `/metrics`."""
    return system_info(call_of(request).service)


def metrics_router(service: Service) -> APIRouter:
    """Return the route of Prometheus."""
    routes = APIRouter()
    metrics = Metrics(service)

    @routes.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        await trio.lowlevel.checkpoint()
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return routes


def capacity(statistics: relay.RouterStatistics) -> dict[str, Any]:
    """Return what ``/api/system/health`` says of the room there is, and ``/api/system/info`` repeats."""
    return {
        "accepting": statistics.refusal is None,
        "refusal": statistics.refusal,
        "peers": {"used": statistics.peers, "limit": statistics.max_peers},
        "outbound_streams": {"used": statistics.outbound_streams, "limit": statistics.max_outbound_streams},
        "workers": [
            {
                "peers": worker.peers,
                "busy_share": round(worker.busy_share, 3),
                "shedding": worker.shedding,
                "shed_tracks": worker.shed_tracks,
            }
            for worker in statistics.workers
        ],
    }


def system_info(service: Service) -> dict[str, Any]:
    """Return what ``/api/system/info`` says."""
    process = process_statistics()
    statistics = service.router.statistics()
    return {
        "version": server_version(),
        "uptime": round(service.uptime_seconds, 3),
        "process": {
            "pid": process.pid,
            "cpu_seconds": process.cpu_seconds,
            "resident_bytes": process.resident_bytes,
            "threads": process.threads,
            "descriptors": process.descriptors,
        },
        "relay": {
            "udp_ports": list(service.router.udp_ports),
            "addresses": list(service.router.addresses),
            "peers": statistics.peers,
            "tracks": statistics.tracks,
            "outbound_streams": statistics.outbound_streams,
            "capacity": capacity(statistics),
            "verdicts": dict(statistics.verdicts),
            "workers": [
                {
                    "udp_port": worker.udp_port,
                    "peers": worker.peers,
                    "busy_seconds": worker.busy_s,
                    "rows": dict(worker.rows),
                    "verdicts": dict(worker.verdicts),
                    "busy_share": round(worker.busy_share, 3),
                    "shedding": worker.shedding,
                    "shed_tracks": worker.shed_tracks,
                    "queue_wait_ms": round(worker.queue_wait_ms, 3),
                    "real_time": worker.real_time,
                    "control_datagrams_dropped": worker.control_datagrams_dropped,
                    "datagrams_dropped": worker.datagrams_dropped,
                }
                for worker in statistics.workers
            ],
        },
    }
