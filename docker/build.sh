#!/bin/sh
# Builds images: docker/build.sh cpu [gpu]. `make images` calls it.
# BUILD_OPTIONS go to the engine as they are, for example
#     BUILD_OPTIONS='--secret id=pip,src=/etc/pip.conf' docker/build.sh cpu
set -eu
cd "$(dirname "$0")/.."
engine=$(docker/engine.sh)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
case $engine in
docker) ;;
# OCI's own format has no health checks.
*) BUILD_OPTIONS="--format docker ${BUILD_OPTIONS:-}" ;;
esac
for target in "$@"; do
    # shellcheck disable=SC2086  # options are words
    "$engine" build --file docker/Dockerfile --target "$target" \
        --tag "streamer:$version-$target" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        ${SOURCE:+--build-arg "SOURCE=$SOURCE"} ${BUILD_OPTIONS:-} .
    echo "build: streamer:$version-$target is built"
done
