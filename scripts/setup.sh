#!/usr/bin/env bash
# Makes .venv with plain pip and the pinned versions of constraints.txt.
#   scripts/setup.sh run    what using Teststrip needs
#   scripts/setup.sh dev    that, and what its tests need
#   scripts/setup.sh check  that, and the validators of deploy/ (300 MB)
# A second run is instant: .venv/.ready-* remembers what was installed, and from where.
# PYTHON=/path/to/python3.11 chooses the interpreter. The full output is in .venv/setup.log.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-run}
venv=.venv
python=""
missing=""
every_extra=all,datasets,optimizers,ray,onnx,server,pipeline
pip_version=26.3 # knows dependency groups, which the pip beside Python 3.11 does not
wanted="$PWD pip $pip_version $(cat pyproject.toml constraints.txt | cksum)"

fail() {
  printf 'setup: %s\n' "$1" >&2
  exit 1
}

is_ready() {
  [[ -x $venv/bin/python && $(cat "$venv/.ready-$1" 2>/dev/null) == "$wanted" ]]
}

find_python() {
  local name seen="" without_venv=""
  for name in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
    "$name" -c '' 2>/dev/null || continue
    if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      seen+=" $name is $("$name" -c 'import platform; print(platform.python_version())');"
    elif ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
      without_venv=$name
    else
      python=$name
      return
    fi
  done
  [[ -z $without_venv ]] ||
    fail "$without_venv has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
  fail "needs Python 3.11 or newer;${seen:- found none;} install one or set PYTHON=/path/to/python3.11"
}

pip_install() {
  # Modules are compiled at their first import instead: that halves the time of a fresh install.
  "$venv/bin/python" -m pip install --quiet --no-input --no-compile \
    --disable-pip-version-check "$@" >>"$venv/setup.log" 2>&1 || {
    tail -n 20 "$venv/setup.log" >&2
    fail "pip could not install; the whole log is in $venv/setup.log"
  }
}

case $kind in
  run) kinds="run"; extras=all; group=() ;;
  dev) kinds="run dev"; extras=$every_extra; group=(--group dev) ;;
  check) kinds="run dev check"; extras=$every_extra; group=(--group dev --group deploy) ;;
  *) fail "unknown kind '$kind'; accepted: run, dev, check" ;;
esac
is_ready "$kind" || missing=1
[[ -n $missing ]] || exit 0

if ! "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  find_python
fi
printf 'setting up %s (about 2 GB; a minute or so on a fast line) ...\n' "$venv" >&2
if [[ -n $python ]]; then
  "$python" -m venv --clear "$venv" || fail "$python -m venv failed"
fi
: >"$venv/setup.log"
rm -f "$venv"/.ready-*
export PIP_USER=0
pip_install "pip==$pip_version"
pip_install -e ".[$extras]" ${group[@]+"${group[@]}"} -c constraints.txt
for kind in $kinds; do printf '%s' "$wanted" >"$venv/.ready-$kind"; done # each holds the ones before
printf 'set up in %s s\n' "$SECONDS" >&2
