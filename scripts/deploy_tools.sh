#!/usr/bin/env bash
# Prints the paths of programs that pip cannot give and the tests of deploy/ need.
#   scripts/deploy_tools.sh caddy nginx promtool prometheus rsync
# One on the PATH is taken. Else Debian's package is fetched and unpacked into .venv/deploy-tools:
# not installed, so nothing of it is started, and no root is needed once apt knows its packages.
# rsync, which needs libraries of its own, is installed.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
unpacked=$repository/.venv/deploy-tools

fail() {
  printf 'deploy_tools.sh: %s\n' "$*" >&2
  exit 1
}

find_one() { # NAME: its path, where it is already here
  # Debian's /usr/sbin is not on everybody's PATH.
  PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" && return
  local place
  for place in "$unpacked/usr/bin/$1" "$unpacked/usr/sbin/$1"; do
    [[ -x $place ]] && printf '%s\n' "$place" && return
  done
  return 1
}

package_of() {
  case $1 in
    caddy | nginx | prometheus | rsync) printf '%s\n' "$1" ;;
    promtool) printf 'prometheus\n' ;;
    *) fail "unknown program '$1'; known: caddy, nginx, prometheus, promtool, rsync" ;;
  esac
}

fetch() { # PACKAGE: unpacks it; several of these take turns
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now, not of then
  trap "rm -rf '$folder'" RETURN
  local apt=(apt-get)
  [[ $(id -u) == 0 ]] || apt=(sudo -n apt-get)
  (
    cd "$folder"
    if [[ $1 == rsync ]]; then
      local install=("${apt[@]}" -qq install -y --no-install-recommends rsync)
      "${install[@]}" </dev/null || { "${apt[@]}" -qq update && "${install[@]}"; } </dev/null
      exit
    fi
    apt-get -qq download "$1" 2>/dev/null || {
      "${apt[@]}" -qq update </dev/null && apt-get -qq download "$1" 2>/dev/null
    }
    mkdir -p "$unpacked"
    dpkg-deb -x ./"$1"_*.deb "$unpacked"
  ) >/dev/null 2>"$folder/log" || {
    tail -n 5 "$folder/log" >&2
    return 1
  }
}

[[ $# -gt 0 ]] || fail "which? caddy, nginx, prometheus, promtool, rsync"
[[ -d $repository/.venv ]] || fail "no .venv: run make setup-check first"
exec 9>"$repository/.venv/.deploy-tools.lock"
for name in "$@"; do
  package=$(package_of "$name")
  find_one "$name" && continue
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    fail "$name is missing, and there is no apt here: install $package and put $name on the PATH"
  fi
  flock 9
  find_one "$name" && continue # another one was faster
  printf 'fetching %s ...\n' "$package" >&2
  fetch "$package" || fail "$name is missing; install it: apt-get install $package"
  find_one "$name" || fail "Debian's package $package holds no $name"
done
