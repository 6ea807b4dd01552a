#!/bin/sh
# Writes the bill of materials of each image that is here to dist/: what `make sbom` calls.
set -eu
cd "$(dirname "$0")/.."
engine=$(docker/engine.sh)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
mkdir -p dist
found=
for target in cpu gpu; do
    image=streamer:$version-$target
    "$engine" inspect "$image" >/dev/null 2>&1 || continue
    found=yes
    case $engine in
    buildah)
        container=$(buildah from "$image")
        buildah run --isolation chroot "$container" -- cat /usr/share/doc/streamer/sbom.cdx.json \
            >"dist/streamer-$version-$target.cdx.json"
        buildah rm "$container" >/dev/null
        ;;
    *)
        "$engine" run --rm --network none --entrypoint cat "$image" \
            /usr/share/doc/streamer/sbom.cdx.json >"dist/streamer-$version-$target.cdx.json"
        ;;
    esac
    echo "sbom: dist/streamer-$version-$target.cdx.json"
done
test -n "$found" || { echo "sbom: found no image of version $version; run \`make images\`" >&2; exit 1; }
