#!/bin/sh
# Runs in the build: installs the code beside its packages, says what all is there, and leaves
# only what runs. Needs network only for setuptools, which builds the wheel.
set -eu
root=/opt/streamer
packages=$(echo $root/lib/python3.*/site-packages)

$root/bin/pip install --quiet --no-cache-dir --no-compile --no-deps --constraint constraints.txt .
$root/bin/pip check
$root/bin/pip uninstall --quiet --yes pip setuptools

/opt/sbom/bin/cyclonedx-py environment $root/bin/python --output-reproducible \
    --pyproject pyproject.toml --mc-type application --output-file python.cdx.json
python3 docker/sbom.py python.cdx.json /packages.tsv >sbom.cdx.json

# Tests, headers and types of libraries. Their licences stay.
find "$packages" -depth -type d \( -name tests -o -name include \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' \) -delete
rm -f $root/bin/*ctivate*
# Which file was newer doesn't matter here, and the same sources make the same bytes.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages"
