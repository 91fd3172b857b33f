#!/usr/bin/env bash
# Writes deploy/.env, which compose.yaml reads: what .env.example has, with a fresh secret wherever
# one is empty. Values that are there stay; run it again after an upgrade for what is new.
#
#   deploy/compose.env.sh [--domain example.org] [--public] [--rotate NAME]... [--file FILE]
#
#   --domain NAME   track.NAME, web.NAME, ... lead to this machine (default: localhost, for a trial)
#   --public        listen to other machines, with certificates from Let's Encrypt
#   --rotate NAME   a new value for this secret; docs/deploy/compose.md says what else it needs
#   --file FILE     another place than deploy/.env
# The file is for its owner alone (0600); no secret is shown.
set -euo pipefail
cd "$(dirname "$0")"

file=$PWD/.env
domain=""
is_public=""
rotate=()

fail() {
  printf 'compose.env.sh: %s\n' "$1" >&2
  exit 2
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --domain) domain=${2:?--domain needs a name}; shift 2 ;;
    --public) is_public=1; shift ;;
    --rotate) rotate+=("${2:?--rotate needs the name of a secret}"); shift 2 ;;
    --file) file=$(realpath -m "${2:?--file needs a path}"); shift 2 ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option '$1'; see --help" ;;
  esac
done
[[ -z $domain || $domain =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] ||
  fail "--domain '$domain': small letters, digits, dots and dashes are accepted, as in example.org"
[[ -z $is_public || -n $domain ]] || fail "--public needs --domain: certificates are for names"

is_secret() { # those after the first line that says so, in .env.example
  sed -n '/^# --- secrets/,$p' .env.example | grep -q "^$1="
}

value_of() { # NAME FILE: what stands there last, as Compose reads it
  sed -n "s/^$1=//p" "$2" 2>/dev/null | tail -n 1
}

fresh() { # 48 hexadecimal digits, 192 bits
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for name in ${rotate[@]+"${rotate[@]}"}; do
  is_secret "$name" || fail "--rotate $name: no such secret; see the end of deploy/.env.example"
done

umask 077
made=$(mktemp "$file.XXXXXX")
trap 'rm -f "$made"' EXIT
known=" "
new=()
while IFS= read -r line; do
  if [[ ! $line =~ ^([A-Za-z_][A-Za-z_0-9]*)=(.*)$ ]]; then
    printf '%s\n' "$line"
    continue
  fi
  name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
  known+="$name "
  grep -q "^$name=" "$file" 2>/dev/null && value=$(value_of "$name" "$file")
  if is_secret "$name" && [[ -z $value || " ${rotate[*]-} " == *" $name "* ]]; then
    value=$(fresh)
    new+=("$name")
  fi
  case $name in
    DOMAIN) value=${domain:-$value} ;;
    TLS) [[ -z $is_public ]] || value=public ;;
    BIND) [[ -z $is_public ]] || value=0.0.0.0 ;;
  esac
  printf '%s=%s\n' "$name" "$value"
done <.env.example >"$made"
# What somebody added by hand stays
while IFS= read -r line; do
  [[ $line =~ ^([A-Za-z_][A-Za-z_0-9]*)= && $known != *" ${BASH_REMATCH[1]} "* ]] &&
    printf '%s\n' "$line" >>"$made"
done < <(cat "$file" 2>/dev/null)
mv "$made" "$file"
printf 'written: %s; new secrets: %s\n' "$file" "${new[*]:-none}" >&2
