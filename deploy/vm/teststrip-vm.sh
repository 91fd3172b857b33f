#!/usr/bin/env bash
# Keeps the tracking server of this machine in order (deploy/vm/install.sh made it).
#
#   teststrip-vm status                       services, version, certificate, disk, newest backup
#   teststrip-vm check                        what of it is not well; exit 1 (a timer asks hourly)
#   teststrip-vm backup                       to /var/backups/teststrip/TIME; 14 are kept
#   teststrip-vm restore FOLDER --yes         all of a backup; what was here is kept beside it
#   teststrip-vm upgrade REPOSITORY|WHEEL     backup, new venv, migration, switch, check
#   teststrip-vm rotate admin-password|secret-key
#   teststrip-vm unpack REPOSITORY|WHEEL      a new venv alone, made the current one
#
# TESTSTRIP_VM_ROOT: another root folder (tests). TESTSTRIP_VM_KEEP: how many backups stay.
# shellcheck disable=SC2329 # verbs are called by their names
set -euo pipefail
umask 077
root=${TESTSTRIP_VM_ROOT:-}
settings=$root/etc/teststrip
secrets=$settings/secrets
data=$root/var/lib/teststrip
backups=$root/var/backups/teststrip
opt=$root/opt/teststrip
databases=(mlflow mlflow_login)

fail() {
  printf 'teststrip-vm: %s\n' "$*" >&2
  exit 1
}

setting() { # FILE NAME: its value in a file of settings; the last one counts
  sed -n "s/^$2=//p" "$settings/$1.env" "$settings/$1.local.env" 2>/dev/null | tail -n 1 |
    sed 's/^"\(.*\)"$/\1/'
}

as_postgres() { # a program of PostgreSQL, as its superuser
  if [ "$(id -u)" -eq 0 ] && [ -z "$root" ]; then
    setpriv --reuid postgres --regid postgres --init-groups env -C / HOME=/var/lib/postgresql "$@"
  else
    "$@" # tests say by PG* who they are
  fi
}

sql() { as_postgres psql -qAtX -v ON_ERROR_STOP=1 -d postgres "$@"; }

is_here() { # is the database on this machine?
  grep -q '?host=/' "$secrets/backend" 2>/dev/null
}

artifact_folder() { # "" where they are in a bucket
  local place
  place=$(setting track TESTSTRIP_TRACK_ARTIFACTS)
  case $place in
    s3://* | gs://*) ;;
    "") printf '%s/track/artifacts' "$data" ;;
    *) printf '%s' "$root$place" ;;
  esac
}

track_url() { printf 'http://127.0.0.1:%s' "$(setting track PORT)"; }

await_health() {
  local turn
  for turn in $(seq 600); do
    curl -fsS -m 5 -o /dev/null "$(track_url)/health" 2>/dev/null && return
    [ "$((turn % 10))" -ne 0 ] || ! systemctl is-failed --quiet teststrip-track.service || break
    sleep 0.5
  done
  fail "the server does not answer at $(track_url)/health; see journalctl -u teststrip-track"
}

version() { "$opt/current/bin/teststrip" --version 2>/dev/null | sed 's/^teststrip //'; }

newest_backup() {
  find "$backups" -mindepth 1 -maxdepth 1 -type d -name '2*' 2>/dev/null | sort | tail -n 1
}

certificate_days() { # until what is served now ends
  local port name until
  port=$(setting caddy TESTSTRIP_HTTPS_PORT) name=$(setting caddy TESTSTRIP_DOMAIN)
  until=$(openssl s_client -connect "127.0.0.1:$port" -servername "$name" </dev/null 2>/dev/null |
    openssl x509 -noout -enddate 2>/dev/null | cut -d= -f2) || true
  [ -n "$until" ] || return 1
  echo $((($(date -d "$until" +%s) - $(date +%s)) / 86400))
}

check() {
  local faults=() unit days used place age newest
  for unit in teststrip-track teststrip-caddy; do
    systemctl is-active --quiet "$unit.service" || faults+=("$unit does not run")
  done
  curl -fsS -m 10 -o /dev/null "$(track_url)/health" 2>/dev/null ||
    faults+=("no answer at $(track_url)/health")
  if ! days=$(certificate_days); then
    faults+=("no certificate is served at port $(setting caddy TESTSTRIP_HTTPS_PORT)")
  elif [ "$days" -lt 14 ]; then
    faults+=("the certificate ends in $days days")
  fi
  for place in "$data" "$backups"; do
    used=$(df --output=pcent "$place" | tr -dc 0-9)
    [ "$used" -lt 90 ] || faults+=("the disk of $place is $used % full")
  done
  newest=$(newest_backup)
  if [ -z "$newest" ]; then
    age=$((($(date +%s) - $(stat -c %Y "$settings/install.conf")) / 3600))
    [ "$age" -lt 36 ] || faults+=("there is no backup")
  else
    age=$((($(date +%s) - $(stat -c %Y "$newest/sha256sums")) / 3600))
    [ "$age" -lt 36 ] || faults+=("the newest backup is $age hours old")
  fi
  [ ${#faults[@]} -eq 0 ] && return
  printf 'teststrip-vm: %s\n' "${faults[@]}" >&2
  exit 1
}

status() {
  local unit newest
  printf 'address:      %s\n' "$(setting track TESTSTRIP_TRACK_PUBLIC_URL)"
  printf 'version:      %s\n' "$(version)"
  for unit in teststrip-track teststrip-caddy; do
    printf '%-13s %s\n' "${unit#teststrip-}:" "$(systemctl is-active "$unit.service" || true)"
  done
  printf 'certificate:  %s days left\n' "$(certificate_days || echo none served,)"
  printf 'disk:         %s free\n' "$(df -h --output=avail "$data" | tail -n 1 | tr -d ' ')"
  newest=$(newest_backup)
  printf 'backup:       %s\n' "${newest:-none}"
  (check) || true
}

backup() {
  local to name artifacts newest old
  to=$backups/$(date -u +%Y%m%dT%H%M%SZ)
  newest=$(newest_backup)
  mkdir -p "$backups"
  rm -rf "$backups"/.part.*
  local part
  part=$(mktemp -d "$backups/.part.XXXXXX")
  # Databases first: whatever they name is then among the artifacts, which are never changed.
  if is_here; then
    for name in "${databases[@]}"; do
      as_postgres pg_dump --format custom --no-owner -d "$name" >"$part/$name.dump"
    done
  else
    echo "the database is on another machine: its own backups are yours to keep" >&2
  fi
  artifacts=$(artifact_folder)
  if [ -z "$artifacts" ]; then
    echo "artifacts are in $(setting track TESTSTRIP_TRACK_ARTIFACTS): the bucket's versions keep them" >&2
  elif [ -d "$artifacts" ]; then
    local link=() # a file that did not change takes no room
    [ -z "$newest" ] || [ ! -d "$newest/artifacts" ] || link=(--link-dest "$newest/artifacts")
    rsync -a ${link[@]+"${link[@]}"} "$artifacts/" "$part/artifacts/"
    (cd "$part" && find artifacts -type f | wc -l >artifacts.count)
  fi
  tar -C "$settings" -cf "$part/settings.tar" .
  version >"$part/version"
  (cd "$part" && find . -maxdepth 1 -type f -exec sha256sum {} +) >"$backups/.sums"
  mv "$backups/.sums" "$part/sha256sums"
  [ ! -e "$to" ] || to=$to-$$ # two within a second
  mv "$part" "$to"
  find "$backups" -mindepth 1 -maxdepth 1 -type d -name '2*' | sort |
    head -n "-${TESTSTRIP_VM_KEEP:-14}" | while read -r old; do rm -rf "$old"; done
  echo "$to"
}

restore() {
  [ "${2:-}" = --yes ] && [ -n "${1:-}" ] || fail "restore FOLDER --yes; folders are in $backups"
  local from=$1 name stamp artifacts
  [ -f "$from/sha256sums" ] || fail "$from is no backup"
  (cd "$from" && sha256sum --quiet --check sha256sums) >&2 || fail "$from is damaged; nothing was changed"
  if [ -f "$from/artifacts.count" ]; then
    [ "$(cd "$from" && find artifacts -type f | wc -l)" -eq "$(cat "$from/artifacts.count")" ] ||
      fail "$from lacks artifacts; nothing was changed"
  fi
  stamp=$(date -u +%Y%m%d%H%M%S)
  # All of it is made beside what is there, and takes its place at the end.
  if [ -f "$from/mlflow.dump" ]; then
    is_here || fail "the database is on another machine: bring its own backup back there"
    for name in "${databases[@]}"; do
      sql -c "create database ${name}_new owner teststrip encoding 'UTF8' template template0"
      sql -c "revoke all on database ${name}_new from public"
      as_postgres pg_restore --exit-on-error --no-owner --role teststrip -d "${name}_new" \
        <"$from/$name.dump"
    done
  fi
  artifacts=$(artifact_folder)
  if [ -d "$from/artifacts" ] && [ -n "$artifacts" ]; then
    rsync -a "$from/artifacts/" "$artifacts.new/"
  fi
  systemctl stop teststrip-track.service
  if [ -f "$from/mlflow.dump" ]; then
    for name in "${databases[@]}"; do
      sql -c "select pg_terminate_backend(pid) from pg_stat_activity where datname = '$name'" >/dev/null
      sql -c "begin; alter database $name rename to ${name}_before_$stamp; alter database ${name}_new rename to $name; commit"
    done
  fi
  if [ -d "$artifacts.new" ]; then
    [ ! -d "$artifacts" ] || mv "$artifacts" "$artifacts.before-$stamp"
    mv "$artifacts.new" "$artifacts"
  fi
  # Its secrets belong to its users; names and ports of this machine stay.
  tar -C "$settings" -xf "$from/settings.tar" ./secrets/admin-password ./secrets/secret-key
  systemctl start teststrip-track.service
  await_health
  echo "restored $from; what was here is kept: databases *_before_$stamp, $artifacts.before-$stamp"
}

unpack() { # a venv of its own for each version; `current` is a link to one of them
  local from=${1:?a repository or a wheel} python=${PYTHON:-python3} venv repository wanted
  [ -e "$from" ] || fail "$from does not exist"
  from=$(readlink -f "$from")
  venv=$opt/releases/$(date -u +%Y%m%dT%H%M%SZ)
  umask 022 # the service's user runs it
  mkdir -p "$opt/releases"
  "$python" -m venv "$venv"
  local pip=("$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
  repository=$from
  [ -d "$from" ] || repository=$(dirname "$from")
  wanted=$repository/deploy/docker/locks/track.txt
  if [ -f "$wanted" ] && "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    "${pip[@]}" --require-hashes -r "$wanted" # hashes of Python 3.11's files
    "${pip[@]}" --no-deps "$from"
  elif [ -f "$repository/constraints.txt" ]; then
    "${pip[@]}" -c "$repository/constraints.txt" "teststrip[server] @ file://$from"
  else
    rm -rf "$venv"
    fail "no constraints.txt beside $from: it says which versions belong together"
  fi
  "$venv/bin/teststrip" --version >/dev/null
  ln -sfn "$venv" "$opt/current.new"
  mv -T "$opt/current.new" "$opt/current"
}

upgrade() {
  local before saved
  before=$(readlink "$opt/current")
  saved=$(backup)
  unpack "$1"
  # The service migrates before it starts; one that cannot leaves the databases as they were.
  if systemctl restart teststrip-track.service && (await_health); then
    echo "now $(version); before: $before, backup: $saved"
    return
  fi
  ln -sfn "$before" "$opt/current.new"
  mv -T "$opt/current.new" "$opt/current"
  systemctl restart teststrip-track.service || true
  fail "the new version does not start (journalctl -u teststrip-track); $before is current again. \
Where it had migrated already: teststrip-vm restore $saved --yes"
}

make_secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

rotate() {
  local new=$secrets/$1.new
  case ${1:-} in
    secret-key)
      make_secret >"$new"
      mv "$new" "$secrets/secret-key"
      systemctl restart teststrip-track.service
      await_health
      echo "forms that are open in browsers must be loaded again"
      ;;
    admin-password)
      make_secret >"$new"
      # The new one is on disk before the server has it, and in its place after: none is ever lost.
      MLFLOW_TRACKING_URI=$(track_url) MLFLOW_TRACKING_USERNAME=admin \
        MLFLOW_TRACKING_PASSWORD=$(cat "$secrets/admin-password") \
        "$opt/current/bin/teststrip" track users password admin --stdin <"$new" >/dev/null
      mv "$new" "$secrets/admin-password"
      echo "it is in $secrets/admin-password"
      ;;
    *) fail "rotate what? admin-password or secret-key" ;;
  esac
}

{ # read as a whole, so that an upgrade may replace this file while it runs
  case ${1:-} in
    status | check | backup) "$1" ;;
    restore | unpack | upgrade | rotate) "$1" "${@:2}" ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
  exit
}
