#!/usr/bin/env bash
# The report's tests drive Chromium. Finds it, or installs Debian's where that is possible.
# Never fails: without a browser those tests are skipped at a desk and fail where CI is set.
set -uo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  printf 'installing chromium for the browser tests ...\n' >&2
  export DEBIAN_FRONTEND=noninteractive
  if { apt-get -qq update && apt-get -qq install -y --no-install-recommends \
    chromium fonts-dejavu-core; } </dev/null >/dev/null 2>&1 && command -v chromium >/dev/null; then
    exit 0
  fi
fi
printf 'no Chromium or Chrome found: the browser tests cannot run (Debian: apt-get install chromium)\n' >&2
