# syntax=docker/dockerfile:1

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/relay
COPY pyproject.toml README.md LICENSE ./
COPY media ./media
COPY relay ./relay
COPY signaling ./signaling
COPY voicebot ./voicebot
COPY bench ./bench
RUN /opt/relay/bin/pip install --no-cache-dir '.[postgres,otel]'

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin relay \
    && install -d -o relay /var/cache/relay \
    && install -d -o relay -m 0700 /var/lib/relay
COPY --from=build /opt/relay /opt/relay
# The kernels are compiled here and run elsewhere, so they use only what every x86-64 (or arm64) processor has.
# The packets' encryption is not among them: libsrtp picks its own instructions at run time.
ENV PATH=/opt/relay/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/relay \
    NUMBA_CPU_NAME=generic \
    RELAY_HOST=0.0.0.0 \
    RELAY_PORT=8080 \
    RELAY_UDP_PORT=40000 \
    RELAY_DATA_DIR=/var/lib/relay
USER relay
RUN relay warm-up
# One TCP port for HTTP and WebSocket; one UDP port per worker, from 40000 on.
EXPOSE 8080/tcp 40000-40015/udp
# Sessions, lobbies, chat, names, companies and the audit log, unless RELAY_DATABASE names another place.
VOLUME /var/lib/relay
# Whether it lives, not whether it is ready: what is unhealthy gets restarted, which ends every call and mends neither a
# database nor an overload. Load balancers ask /api/system/ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD python -c "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"RELAY_PORT\"]}/api/system/live', timeout=2)"
STOPSIGNAL SIGTERM
CMD ["relay", "serve"]
