#!/bin/sh
# Builds docker/stand-ins.Dockerfile under the names that compose.yaml uses. Not Grafana: Debian
# has no package of it. After `make images`; BUILD_OPTIONS as for build.sh.
set -eu
cd "$(dirname "$0")/.."
engine=$(docker/engine.sh)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
for target in valkey prometheus alertmanager redis_exporter; do
    name=$(sed -n "s,^    image: \(.*/$target:.*\)\$,\1,p" deploy/compose/compose.yaml)
    # shellcheck disable=SC2086  # options are words
    "$engine" build --file docker/stand-ins.Dockerfile --target "$target" --tag "$name" \
        --build-arg "STREAMER_IMAGE=streamer:$version-cpu" ${BUILD_OPTIONS:-} .
    echo "stand-ins: $name is built"
done
