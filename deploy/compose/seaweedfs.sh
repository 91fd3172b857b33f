#!/bin/sh
# SeaweedFS in one process, with three identities: each program may use its own bucket and no
# other; only the one-shot `buckets` may make some. The file of keys is in memory alone.
set -eu
umask 077
config=${S3_CONFIG:-/run/teststrip/s3.json}

identity() { # NAME SECRET ACTIONS
  printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}' \
    "$1" "$1" "$2" "$3"
}

on_bucket() { # BUCKET
  printf '"Read:%s", "Write:%s", "List:%s", "Tagging:%s"' "$1" "$1" "$1" "$1"
}

{
  printf '{"identities": [\n'
  identity admin "${S3_ADMIN_SECRET:?}" '"Admin", "Read", "Write", "List", "Tagging"'
  printf ',\n'
  identity track "${S3_TRACK_SECRET:?}" "$(on_bucket mlflow)"
  printf ',\n'
  identity service "${S3_SERVICE_SECRET:?}" "$(on_bucket teststrip)"
  printf '\n]}\n'
} >"$config"
unset S3_ADMIN_SECRET S3_TRACK_SECRET S3_SERVICE_SECRET

exec "${WEED:-weed}" -logtostderr=true mini -dir=/data -ip=seaweedfs -ip.bind=0.0.0.0 \
  -s3.config="$config" -s3.iam=false -s3.port.iceberg=0 -webdav=false -admin.ui=false \
  -master.telemetry=false
