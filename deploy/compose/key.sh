#!/bin/sh
# The first API key of the service: Prometheus', with the scope admin, kept in /keys. Without any
# key a web process refuses to listen to other machines.
set -eu
umask 077
keys=${KEYS:-/keys}

if [ ! -s "$keys/prometheus_key" ]; then
  teststrip service keys add prometheus --scope admin --json | python -c '
import json, sys
print(json.load(sys.stdin)["key"], end="")' >"$keys/prometheus_key.new"
  mv "$keys/prometheus_key.new" "$keys/prometheus_key"
fi
chmod 0444 "$keys/prometheus_key" # Prometheus is another user; no other container has this volume
echo "the key prometheus is there"
