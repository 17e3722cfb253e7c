# One image for each program: docker build --target gateway . (scripts/images builds all of them).
# The classic builder and BuildKit both take it. An image holds one program, the libraries it is
# linked to and nothing else: no shell, no package manager, no root.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
WORKDIR /src
# What is slow and seldom changes comes first.
COPY scripts/deps scripts/deps
RUN scripts/deps --build
COPY . .
RUN make -j"$(nproc)" programs && scripts/image-roots build/release/bin /out

# From here on scripts/images --programs takes the same stages, with programs built outside.
FROM scratch AS auth
COPY --from=build /out/auth/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-auth", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-auth"]

FROM scratch AS registry
COPY --from=build /out/registry/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-registry", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-registry"]

FROM scratch AS publisher
COPY --from=build /out/publisher/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-publisher", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-publisher"]

# Functions run in containers of the engine whose socket is mounted: the user must be one that may
# open that socket.
FROM scratch AS spawner
COPY --from=build /out/spawner/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock SPAWNER_RUNTIME=docker
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-spawner", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-spawner"]

# Functions run in sandboxes that this one makes: as root, with the rights of docker-compose.native.yml.
# The library that unpacks images brings an XML library, and that Unicode tables: 30 MB for nothing.
FROM scratch AS spawner-native
COPY --from=build /out/spawner-native/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock SPAWNER_RUNTIME=native
USER 0:0
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-spawner", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-spawner"]

FROM scratch AS gateway
COPY --from=build /out/gateway/ /
ENV DATA_DIR=/var/lib/faas HEALTH_SOCKET=/tmp/health.sock LISTEN_ADDR=0.0.0.0:8080
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-gateway", "--healthcheck"]
ENTRYPOINT ["/usr/bin/faas-gateway"]

# For those who have no NATS image of their own. Its configuration, with the store in /data, is a
# secret of the deployment (faas init).
FROM scratch AS nats
COPY --from=build /out/nats/ /
USER 10001:10001
EXPOSE 4222
VOLUME /data
HEALTHCHECK --interval=2s --timeout=4s --start-period=60s CMD ["/usr/bin/faas-probe", "-qO-", "http://127.0.0.1:8222/healthz?js-enabled-only=true"]
ENTRYPOINT ["/usr/bin/nats-server"]

# The command line: faas init before a deployment starts, users' and operators' commands later.
FROM scratch AS cli
COPY --from=build /out/cli/ /
USER 10001:10001
ENTRYPOINT ["/usr/bin/faas"]
