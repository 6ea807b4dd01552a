#!/bin/sh
# Makes the base image from Debian's own packages, for machines that reach no image registry:
#
#     sudo docker/base-image.sh [SNAPSHOT_OR_MIRROR_URL]
#
# The image gets the name that the Dockerfile asks for, so that nothing else changes.
# Needs root, debootstrap, and docker, podman or buildah.
set -eu
here=$(dirname "$0")
name=$(sed -n 's/^ARG BASE_IMAGE=//p' "$here/Dockerfile")
suite=bookworm

engine=$("$here/engine.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" ${1:+"$1"}
# Without an argument debootstrap has chosen one.
mirror=$(sed -n 's/^deb \([^ ]*\) .*/\1/p' "$work/root/etc/apt/sources.list" | head -n 1)
found=$(cat "$work/root/etc/debian_version")
case $name in
*:"$found"-slim) ;;
*) echo "base-image: the Dockerfile asks for $name, $mirror has Debian $found" >&2 ;;
esac
for parts in updates security; do
    case $parts in
    updates) echo "deb $mirror $suite-updates main" ;;
    security) echo "deb $(echo "$mirror" | sed 's,/debian$,/debian-security,') $suite-security main" ;;
    esac
done >>"$work/root/etc/apt/sources.list"
# As Debian's own slim images: no documents, no caches, no downloaded packages.
rm -rf "$work/root/usr/share/doc" "$work/root/usr/share/man" "$work/root/usr/share/locale" \
    "$work/root/usr/share/info" "$work/root/var/cache/apt" "$work/root/var/lib/apt/lists" \
    "$work/root/var/log"
mkdir -p "$work/root/usr/share/man/man1" "$work/root/var/cache/apt/archives/partial" \
    "$work/root/var/lib/apt/lists/partial" "$work/root/var/log"
printf 'path-exclude /usr/share/%s/*\n' doc man locale info \
    >"$work/root/etc/dpkg/dpkg.cfg.d/slim"
printf 'path-include /usr/share/doc/*/copyright\n' >>"$work/root/etc/dpkg/dpkg.cfg.d/slim"
echo 'APT::Keep-Downloaded-Packages "false";' >"$work/root/etc/apt/apt.conf.d/slim"

tar -C "$work/root" -cf "$work/root.tar" --numeric-owner .
case $engine in
buildah)
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/root.tar" / >/dev/null
    buildah config --cmd /bin/bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$name"
    ;;
*) "$engine" import --change 'CMD ["bash"]' "$work/root.tar" "$name" ;;
esac
echo "base-image: $name, Debian $found"
