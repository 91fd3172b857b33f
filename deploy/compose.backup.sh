#!/usr/bin/env bash
# All data of compose.yaml in one folder, and back. Everything is stopped meanwhile, so that
# databases and buckets are of one moment; what ran is started again, also where this fails.
#
#   deploy/compose.backup.sh save FOLDER           makes FOLDER: VOLUME.tar.gz and SHA256SUMS
#   deploy/compose.backup.sh load FOLDER [--yes]   checks them, then replaces the volumes
#
# DOCKER: another program than `docker`, podman for one. Secrets (deploy/.env) are not in it.
set -euo pipefail
folder=${2:+$(realpath -m "$2")} # as seen from where it was called
cd "$(dirname "$0")/.."

docker=${DOCKER:-docker}
compose=("$docker" compose -f deploy/compose.yaml --profile watch)
project=teststrip
# Prometheus' numbers and the accounts' passwords are made anew; certificates too, but they count
# against a limit of Let's Encrypt.
volumes=(postgres seaweedfs track rabbitmq valkey web home grafana caddy)

fail() {
  printf 'compose.backup.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

usage() {
  fail "write: compose.backup.sh save FOLDER, or load FOLDER [--yes]" 2
}

image() { # one that is on this machine anyway, with tar in it
  sed -n 's/^    image: &postgres //p' deploy/compose.yaml
}

in_volume() { # VOLUME FOLDER SCRIPT: run it where /data is the volume and /backup the folder
  "$docker" run --rm --network none --user 0:0 --entrypoint sh \
    -v "${project}_$1:/data" -v "$2:/backup" "$(image)" -ec "$3"
}

running=()
part="" # of a backup that is not whole
end() {
  [[ -z $part ]] || rm -rf "$part"
  [[ ${#running[@]} -eq 0 ]] || "${compose[@]}" up -d --no-recreate "${running[@]}" >&2
}

stop_all() {
  local found
  found=$("${compose[@]}" ps --services --status running)
  [[ -z $found ]] || mapfile -t running <<<"$found"
  trap end EXIT
  "${compose[@]}" stop >&2
}

there() { # VOLUME
  "$docker" volume inspect "${project}_$1" >/dev/null 2>&1
}

save() {
  local volume
  [[ ! -e $1 ]] || fail "$1 is there already; name another folder"
  umask 077
  mkdir -p "$(dirname "$1")"
  part=$(mktemp -d "$1.part.XXXXXX")
  stop_all
  for volume in "${volumes[@]}"; do
    there "$volume" || continue
    in_volume "$volume" "$part" "tar -czf /backup/$volume.tar.gz -C /data ."
  done
  (cd "$part" && ls ./*.tar.gz >/dev/null 2>&1) || fail "there is no volume of $project to save"
  (cd "$part" && sha256sum ./*.tar.gz >SHA256SUMS)
  mv "$part" "$1"
  part=""
  printf 'saved: %s\n' "$1"
}

load() {
  local volume answer
  [[ -f $1/SHA256SUMS ]] || fail "$1 is no backup: it has no SHA256SUMS"
  (cd "$1" && sha256sum --check --quiet --strict SHA256SUMS >&2) ||
    fail "$1 is damaged; nothing was changed"
  if [[ ${2:-} != --yes ]]; then
    read -rp "Replace all data of $project by $1? (yes/no) " answer
    [[ $answer == yes ]] || fail "nothing was changed"
  fi
  stop_all
  for volume in "${volumes[@]}"; do
    [[ -f $1/$volume.tar.gz ]] || continue
    there "$volume" || "${compose[@]}" create >&2
    in_volume "$volume" "$1" \
      "find /data -mindepth 1 -delete; tar -xzpf /backup/$volume.tar.gz -C /data"
  done
  printf 'loaded: %s\n' "$1"
}

case ${1:-} in
  save) [[ $# -eq 2 ]] || usage; save "$folder" ;;
  load) [[ $# -ge 2 ]] || usage; load "$folder" "${3:-}" ;;
  *) usage ;;
esac
