#!/bin/sh
# Users of the tracking server that programs of this file log in as: `service` (web, worker,
# studio) with the password of .env, and `prometheus` with one that is made here and kept in /keys.
# Again and again to the same end: a password that changed is set anew.
# MLFLOW_TRACKING_URI, _USERNAME, _PASSWORD: an administrator.
set -eu
: "${SERVICE_PASSWORD:?}"
keys=${KEYS:-/keys}

ensure() { # NAME, its password on standard input
  password=$(cat)
  if teststrip track users list --json | python -c '
import json, sys
names = {user["name"] for user in json.load(sys.stdin)["users"]}
sys.exit(sys.argv[1] not in names)' "$1"; then
    printf '%s\n' "$password" | teststrip track users password "$1" --stdin >/dev/null
  else
    printf '%s\n' "$password" | teststrip track users add "$1" --stdin >/dev/null
  fi
  echo "user $1 is there"
}

if [ ! -s "$keys/track_password" ]; then
  python -c 'import secrets; print(secrets.token_urlsafe(24), end="")' >"$keys/track_password.new"
  mv "$keys/track_password.new" "$keys/track_password"
fi
chmod 0444 "$keys/track_password" # Prometheus is another user; no other container has this volume
printf '%s' "$SERVICE_PASSWORD" | ensure service
ensure prometheus <"$keys/track_password"
