#!/bin/sh
# Finds or installs a Chromium for the browser test. Never fails the run: where it cannot, it says so
# in one line, and the browser test skips with its reason.
set -u

for candidate in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then
        exit 0
    fi
done

skip() {
    echo "No Chromium for the browser test: $1. Install one, or set CHROMIUM to its path."
    exit 0
}

[ "$(id -u)" = 0 ] || skip "not on PATH, and only root can install it"
command -v apt-get >/dev/null 2>&1 || skip "not on PATH, and there is no apt-get to install it with"

# Bounded: without a network, or while another process holds the package lock, nobody should wait long.
limit() {
    if command -v timeout >/dev/null 2>&1; then
        seconds=$1
        shift
        timeout "$seconds" "$@"
    else
        shift
        "$@"
    fi
}

export DEBIAN_FRONTEND=noninteractive
options="-q -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1"
# shellcheck disable=SC2086 # several options in one word, on purpose
limit 120 apt-get $options update >/dev/null 2>&1 || skip "apt-get update failed"
# shellcheck disable=SC2086
limit 300 apt-get $options install -y --no-install-recommends chromium >/dev/null 2>&1 ||
    skip "the package chromium could not be installed"
echo "Installed the package chromium for the browser test."
