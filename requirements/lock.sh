#!/bin/sh
# Pins dev.in with everything underneath, then base.in and run.in to the same versions.
# torch's accelerator packages are left to pip: they depend on the machine, not on us.
set -eu
uv=${1:-uv}
cd "$(dirname "$0")/.."
pin() {
    "$uv" pip compile --quiet --python-version 3.11 --no-emit-find-links --no-emit-index-url \
        --no-header --no-annotate "$@" | sed 's/+cpu$//' | grep -v -E '^(nvidia-|triton|cuda-)'
}
pin requirements/dev.in > requirements/dev.txt.new
mv requirements/dev.txt.new requirements/dev.txt
for name in base run; do
    pin "requirements/$name.in" -c requirements/dev.txt > "requirements/$name.txt"
done
