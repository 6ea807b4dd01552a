#!/bin/sh
# Says which container engine is here and answers: $ENGINE, docker, podman or buildah.
set -eu
for engine in ${ENGINE:-docker podman buildah}; do
    if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
        echo "$engine"
        exit
    fi
done
echo "engine: expected docker, podman or buildah that works, found none; install one" \
    "(Debian: apt install podman), start Docker's daemon, or set ENGINE" >&2
exit 1
