#!/usr/bin/env bash
# Installs the tracking server on one machine: Debian 12 or newer, Ubuntu 24.04 or newer, as root.
#
#   deploy/vm/install.sh --domain mlflow.example.org --email ops@example.org
#
# Made: user teststrip, a venv below /opt/teststrip, PostgreSQL with two databases over its socket,
# Caddy with TLS, services and timers of systemd, secrets in /etc/teststrip/secrets. A second run
# changes what differs and keeps secrets and databases; flags left out are those of the run before.
# `teststrip-vm` does the rest: status, backup, restore, upgrade, rotate. docs/deploy/vm.md tells all.
#
#   --domain NAME              what browsers and clients call it; its DNS entry is this machine
#   --email ADDRESS            a certificate of Let's Encrypt, whose mail goes there (ports 80, 443)
#   --certificate FILE --key FILE   or one of your own
#   --internal-ca              or one of Caddy's own authority, which clients must be told of
#   --artifacts PLACE          s3://bucket/prefix, gs://bucket/prefix or a folder; in /var/lib/teststrip
#   --s3-endpoint URL          of an S3 server that is not Amazon's
#   --aws-credentials FILE     keys as ~/.aws/credentials has them; better is the machine's own role
#   --database-file FILE       holds postgresql://user:password@host/db of a server elsewhere
#   --from PLACE               this repository, another, or a wheel; this one if left out
#   --python PROGRAM           3.11 or newer; python3 if left out
#   --port, --http-port, --https-port N    5000 (for this machine alone), 80, 443
#   --dry-run                  print what would be done; needs no root
#   --stage FOLDER             write all files below FOLDER and change nothing else
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

domain="" email="" certificate="" key="" internal="" artifacts="" s3_endpoint=""
port=5000 http_port=80 https_port=443
aws_credentials="" database_file="" from=$repository python=python3 dry="" stage=""
kept=(domain email certificate key internal artifacts s3_endpoint port http_port https_port)

take_flags() {
  while [ $# -gt 0 ]; do
    case $1 in
      --internal-ca) internal=yes email="" certificate="" key="" ;;
      --dry-run) dry=yes ;;
      --domain | --email | --certificate | --key | --artifacts | --s3-endpoint | --aws-credentials | \
        --database-file | --from | --python | --port | --http-port | --https-port | --stage)
        [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value"
        local name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        case $1 in
          --email) internal="" certificate="" key="" ;;
          --certificate) internal="" email="" ;;
        esac
        shift
        ;;
      -h | --help) sed -n '2,27s/^# \{0,1\}//p' "$0" && exit 0 ;;
      *) fail "unknown flag $1; --help lists them" ;;
    esac
    shift
  done
}

check_flags() {
  local faults=() name='^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$' number='^[0-9]{1,5}$' one
  [[ $domain =~ $name ]] || faults+=("--domain '$domain': a name such as mlflow.example.org")
  [ -z "$email" ] || [[ $email =~ ^[^[:space:]@{}]+@[^[:space:]@{}]+$ ]] ||
    faults+=("--email '$email': no address")
  [ -n "$email$certificate$internal" ] ||
    faults+=("one of --email ADDRESS, --certificate FILE with --key FILE, --internal-ca")
  [ -z "$certificate" ] || [ -n "$key" ] || faults+=("--certificate needs --key FILE as well")
  [[ -z $artifacts || $artifacts =~ ^((s3|gs)://[^[:space:]]+|/[^[:space:]]*)$ ]] ||
    faults+=("--artifacts '$artifacts': s3://bucket/prefix, gs://bucket/prefix or a whole path")
  [[ -z $s3_endpoint || $s3_endpoint =~ ^https?://[^[:space:]]+$ ]] ||
    faults+=("--s3-endpoint '$s3_endpoint': an address such as https://s3.example.org")
  for one in "$port" "$http_port" "$https_port"; do
    [[ $one =~ $number ]] || faults+=("'$one' is no port")
  done
  for one in "$certificate" "$key" "$aws_credentials" "$database_file"; do
    [ -z "$one" ] || [ -r "$(at "$one")" ] || faults+=("$one cannot be read")
  done
  [ -e "$from" ] || faults+=("--from $from: does not exist")
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    faults+=("--python $python: 3.11 or newer is needed (Debian 12, Ubuntu 24.04)")
  [ ${#faults[@]} -eq 0 ] && return
  printf 'install.sh: %s\n' "${faults[@]}" >&2
  exit 2
}

at() { # where a file is: what an earlier run copied is below the root folder
  case $1 in /etc/teststrip/*) printf %s "$stage$1" ;; *) printf %s "$1" ;; esac
}

act() { # a change of the machine itself
  if [ -n "$dry$stage" ]; then printf 'would run: %s\n' "$*"; else "$@"; fi
}

put() { # FILE MODE OWNER < CONTENT: written where it differs, whole or not at all
  local file=$stage$1 content
  content=$(cat && printf .)
  content=${content%.}
  if [ -f "$file" ] && [ "$(cat "$file" && printf .)" = "$content." ]; then return; fi
  changed+=("$1")
  if [ -n "$dry" ]; then
    printf 'would write: %s (%s %s)\n' "$1" "$2" "$3"
    return
  fi
  (umask 077 && mkdir -p "$(dirname "$file")" && printf %s "$content" >"$file.new")
  [ -n "$stage" ] || chown "$3" "$file.new"
  chmod "$2" "$file.new"
  mv "$file.new" "$file"
}

folder() { # PATH MODE OWNER
  if [ -n "$dry" ]; then
    [ -d "$stage$1" ] || printf 'would make: %s (%s %s)\n' "$1" "$2" "$3"
    return
  fi
  mkdir -p "$stage$1"
  chmod "$2" "$stage$1"
  [ -n "$stage" ] || chown "$3" "$stage$1"
}

secret() { # NAME: made once, then kept; what is given on standard input replaces it
  local name=/etc/teststrip/secrets/$1
  if [ "${2:-}" = given ]; then
    put "$name" 600 root:root
  elif [ ! -s "$stage$name" ]; then
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' | put "$name" 600 root:root
  fi
}

install_packages() {
  local wanted=(caddy curl openssl python3-venv rsync) missing=() one
  [ -n "$database_file" ] || wanted+=(postgresql)
  for one in "${wanted[@]}"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$one" 2>/dev/null | grep -q '^ii' || missing+=("$one")
  done
  [ ${#missing[@]} -eq 0 ] && return
  act apt-get update -qq
  act env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}"
}

make_users() {
  id teststrip >/dev/null 2>&1 ||
    act useradd --system --home-dir /var/lib/teststrip --no-create-home --shell /usr/sbin/nologin \
      teststrip
}

make_folders() {
  folder /opt/teststrip 755 root:root
  folder /etc/teststrip 755 root:root
  folder /etc/teststrip/secrets 700 root:root
  folder /var/lib/teststrip 700 teststrip:teststrip
  folder /var/backups/teststrip 700 root:root
}

write_secrets() {
  secret admin-password
  secret secret-key
  if [ -n "$database_file" ]; then
    secret backend given <"$database_file"
  elif [ ! -s "$stage/etc/teststrip/secrets/backend" ]; then
    printf 'postgresql://teststrip@/mlflow?host=/var/run/postgresql\n' | secret backend given
  fi
  if [ -n "$aws_credentials" ]; then
    secret aws-credentials given <"$aws_credentials"
  elif [ ! -e "$stage/etc/teststrip/secrets/aws-credentials" ]; then
    secret aws-credentials given </dev/null # then the machine's own role is asked
  fi
}

write_settings() {
  local name behind="" tls=$email
  [ "$https_port" = 443 ] || behind=:$https_port
  put /etc/teststrip/track.env 600 root:root <<ENV
# Written by install.sh. Settings of your own go to track.local.env, which is read after this.
PORT=$port
TESTSTRIP_HOME=/var/lib/teststrip
TESTSTRIP_TRACK_PUBLIC_URL=https://$domain$behind
TESTSTRIP_TRACK_TRUSTED_PROXIES=127.0.0.1
TESTSTRIP_TRACK_MIGRATE=off
TESTSTRIP_TRACK_ARTIFACTS=$artifacts
TESTSTRIP_TRACK_S3_ENDPOINT=$s3_endpoint
TESTSTRIP_TRACK_LOG=json
AWS_REGION=us-east-1
OMP_NUM_THREADS=1
ENV
  if [ -n "$certificate" ]; then
    folder /etc/teststrip/tls 750 root:caddy
    put /etc/teststrip/tls/certificate.pem 640 root:caddy <"$(at "$certificate")"
    put /etc/teststrip/tls/key.pem 640 root:caddy <"$(at "$key")"
    certificate=/etc/teststrip/tls/certificate.pem key=/etc/teststrip/tls/key.pem
    tls="$certificate $key"
  elif [ -n "$internal" ]; then
    tls=internal
  fi
  put /etc/teststrip/caddy.env 600 root:root <<ENV
# Written by install.sh.
TESTSTRIP_DOMAIN=$domain
TESTSTRIP_TLS="$tls"
TESTSTRIP_HTTP_PORT=$http_port
TESTSTRIP_HTTPS_PORT=$https_port
PORT=$port
ENV
  for name in "${kept[@]}"; do printf '%s=%q\n' "$name" "${!name}"; done |
    put /etc/teststrip/install.conf 600 root:root
  put /etc/teststrip/Caddyfile 644 root:root <"$here/Caddyfile"
}

write_programs() {
  local unit
  for unit in "$here"/systemd/*; do
    put "/etc/systemd/system/${unit##*/}" 644 root:root <"$unit"
  done
  put /usr/local/sbin/teststrip-vm 755 root:root <"$here/teststrip-vm.sh"
  put /opt/teststrip/databases.sql 644 root:root <"$here/databases.sql"
}

install_teststrip() { # the first time; later that is `teststrip-vm upgrade`
  if [ -x "$stage/opt/teststrip/current/bin/teststrip" ]; then
    [ "$from" = "$repository" ] || printf 'kept: what is installed; upgrade: %s\n' \
      "teststrip-vm upgrade $from"
    return
  fi
  act env PYTHON="$python" bash "$here/teststrip-vm.sh" unpack "$from"
}

make_databases() {
  [ -z "$database_file" ] || return 0
  case $(cat "$stage/etc/teststrip/secrets/backend" 2>/dev/null) in
    *host=/var/run/postgresql*) ;;
    "") [ -n "$dry" ] || return 0 ;;
    *) return 0 ;; # it is elsewhere, as an earlier run was told
  esac
  act systemctl enable --now --quiet postgresql
  act setpriv --reuid postgres --regid postgres --init-groups env -C / psql -qX -v ON_ERROR_STOP=1 -d postgres -f /opt/teststrip/databases.sql
}

start_services() {
  local units=(teststrip-track.service teststrip-caddy.service)
  act systemctl daemon-reload
  if systemctl is-enabled --quiet caddy.service 2>/dev/null; then
    act systemctl disable --now --quiet caddy.service # Debian's; it would take the ports
  fi
  act systemctl enable --now --quiet teststrip-backup.timer teststrip-check.timer
  act systemctl enable --quiet "${units[@]}"
  if [ ${#changed[@]} -gt 0 ]; then act systemctl restart "${units[@]}"; fi
  act systemctl start "${units[@]}"
}

say_what_is_left() {
  printf '%s\n' "${changed[@]+"${changed[@]}"}" | sed '/^$/d; s/^/written: /'
  [ -z "$dry" ] || return 0
  cat <<SAID

https://$domain   user: admin
password:          sudo cat /etc/teststrip/secrets/admin-password
is all well:       sudo teststrip-vm status
SAID
}

{
  given=("$@")
  for ((i = 0; i < ${#given[@]}; i++)); do
    [ "${given[i]}" != --stage ] || stage=${given[i + 1]:-}
  done
  if [ -r "$stage/etc/teststrip/install.conf" ]; then
    # shellcheck disable=SC1091 # what an earlier run wrote: the same names as above
    . "$stage/etc/teststrip/install.conf"
  fi
  take_flags "$@"
  check_flags
  [ -n "$dry$stage" ] || [ "$(id -u)" -eq 0 ] || fail "needs root; --dry-run does not"
  changed=()
  install_packages
  make_users
  make_folders
  write_secrets
  write_settings
  write_programs
  install_teststrip
  make_databases
  start_services
  say_what_is_left
}
