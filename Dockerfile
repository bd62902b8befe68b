# One recipe, three images (see docker-compose.yml): `agent` (manager, or any command), `broker` and `lender`.
# Everything is installed here; nothing is at a container's start.

FROM debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/ramshare
COPY pyproject.toml README.md /src/
COPY agents/ramshare /src/agents/ramshare
RUN /opt/ramshare/bin/python -m pip install --no-cache-dir --disable-pip-version-check '/src[broker,host,metrics]'

FROM debian:bookworm-slim AS agent
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 970 --user-group --no-create-home --home-dir /nonexistent ramshare \
 && useradd --system --uid 971 --user-group --no-create-home --home-dir /nonexistent mosquitto
COPY --from=build /opt/ramshare /opt/ramshare
COPY broker-config/docker/first-start broker-config/docker/connected /usr/local/bin/
ENV PATH=/opt/ramshare/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
USER ramshare

FROM agent AS lender
USER root
RUN apt-get update \
 && apt-get install -y --no-install-recommends tgt mount \
 && rm -rf /var/lib/apt/lists/*

# Debian's package takes the user that is there; `agent`, which makes the broker's files, has the same.
FROM debian:bookworm-slim AS broker
RUN useradd --system --uid 971 --user-group --no-create-home --home-dir /nonexistent mosquitto \
 && apt-get update \
 && apt-get install -y --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/*
USER mosquitto
