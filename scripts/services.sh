#!/usr/bin/env bash
# A real RabbitMQ, Redis, PostgreSQL and S3 server (nanio) for tests and trials, on free ports of
# 127.0.0.1.
#
#   scripts/services.sh run COMMAND...          start fresh ones, run COMMAND, stop them
#   scripts/services.sh start | stop | status   the same to keep; data stay until the next start
#   eval "$(scripts/services.sh env)"           TESTSTRIP_TEST_BROKER, _REDIS, _POSTGRES, _S3, AWS_*
#   scripts/services.sh restart broker|redis|postgres|s3 [--kill] [--lose-data]
#   scripts/services.sh pause broker|... SECONDS   refuses connections for so long
#   scripts/services.sh hang broker|... SECONDS    accepts them and says nothing
#
# The last three work inside COMMAND too. Debian's packages are installed where they are missing.
# TESTSTRIP_SERVICES: the folder of data, logs and process numbers. The user of PostgreSQL is a
# superuser, so that each test makes databases of its own.
# shellcheck disable=SC2154 # ports and password are read from the file of settings
# shellcheck disable=SC2329 # start_* are called by their names
# shellcheck disable=SC2034 # a turn of a waiting loop needs no number
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
folder=${TESTSTRIP_SERVICES:-${TMPDIR:-/tmp}/teststrip-services-$(id -u)}
python=$repository/.venv/bin/python
names=(redis s3 postgres broker)

fail() {
    echo "services.sh: $*" >&2
    exit 1
}

postgres_programs() { # the folder of the newest ones; Debian puts them beside the PATH
    local found
    found=$(command -v /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1) || true
    [ -n "$found" ] || found=$(command -v initdb) || return 0
    dirname "$(readlink -f "$found")" # what the PATH has may be a link to one of them
}

install_packages() {
    local missing=()
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
    command -v redis-server >/dev/null || missing+=(redis-server)
    [ -n "$(postgres_programs)" ] || missing+=(postgresql)
    [ ${#missing[@]} -eq 0 ] && return
    local apt=(apt-get)
    [ "$(id -u)" -eq 0 ] || apt=(sudo -n apt-get)
    if ! "${apt[@]}" update -qq >/dev/null ||
        ! DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y -qq --no-install-recommends \
            "${missing[@]}" >/dev/null; then
        fail "${missing[*]} missing: install them (apt-get install ${missing[*]})"
    fi
}

make_settings() { # ports and passwords of this set of servers
    [ -x "$repository/.venv/bin/nanio" ] || fail "no .venv with nanio: run make setup-dev first"
    local made
    made=$("$python" - <<'PY'
import secrets, socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
for name, one in zip(("broker", "epmd", "dist", "redis", "s3", "postgres"), held):
    print(f"{name}_port={one.getsockname()[1]}")
print(f"password={secrets.token_hex(12)}")
PY
    )
    mkdir -p "$folder"
    chmod 700 "$folder"
    rm -rf "${folder:?}"/{broker,redis,s3,postgres,pids}
    mkdir -p "$folder"/{broker/home,redis,s3,postgres,pids}
    (umask 077 && echo "$made" >"$folder/settings")
}

settings() {
    [ -f "$folder/settings" ] || fail "nothing was started in $folder"
    # shellcheck disable=SC1091 # made by make_settings
    . "$folder/settings"
}

begin() { # NAME COMMAND...: in a process group of its own, whose number is kept
    local name=$1
    shift
    [ -f "$folder/settings" ] || fail "$name is not started: its set of servers was stopped"
    env -C "$folder" setsid "$@" >>"$folder/$name.log" 2>&1 </dev/null &
    echo $! >"$folder/pids/$name"
    disown # no word about its end
}

is_alive() { # a dead one that nobody reaped does not live
    [ -f "$folder/pids/$1" ] || return 1
    local state
    state=$(sed 's/.*) //; s/ .*//' "/proc/$(cat "$folder/pids/$1")/stat" 2>/dev/null) || return 1
    [ -n "$state" ] && [ "$state" != Z ]
}

await_port() { # NAME PORT
    local turn
    for turn in $(seq 1200); do
        (: >"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return
        is_alive "$1" || break
        sleep 0.1
    done
    tail -n 30 "$folder/$1.log" >&2
    fail "$1 does not listen on port $2 (see above, $folder/$1.log)"
}

start_epmd() {
    ERL_EPMD_ADDRESS=127.0.0.1 begin epmd epmd -port "$epmd_port" -relaxed_command_check
    await_port epmd "$epmd_port"
}

start_broker() {
    is_alive epmd || start_epmd
    cat >"$folder/broker/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$broker_port
default_user = teststrip
default_pass = $password
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 16777216
log.file = false
log.console = true
log.console.level = warning
CONF
    echo '[].' >"$folder/broker/plugins"
    begin broker env HOME="$folder/broker/home" ERL_EPMD_PORT="$epmd_port" \
        ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME="teststrip-$broker_port@localhost" \
        RABBITMQ_DIST_PORT="$dist_port" RABBITMQ_MNESIA_BASE="$folder/broker/data" \
        RABBITMQ_LOG_BASE="$folder/broker/log" \
        RABBITMQ_GENERATED_CONFIG_DIR="$folder/broker/generated" \
        RABBITMQ_SCHEMA_DIR="$folder/broker/schema" \
        RABBITMQ_PLUGINS_EXPAND_DIR="$folder/broker/expanded" \
        RABBITMQ_PID_FILE="$folder/broker/pid" \
        RABBITMQ_CONFIG_FILE="$folder/broker/rabbitmq.conf" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$folder/broker/plugins" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none -kernel \
inet_dist_use_interface {127,0,0,1}" \
        /usr/lib/rabbitmq/bin/rabbitmq-server
    await_port broker "$broker_port"
}

start_redis() {
    begin redis redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$folder/redis" \
        --appendonly yes --appendfsync everysec --maxmemory-policy noeviction \
        --requirepass "$password"
    await_port redis "$redis_port"
}

start_postgres() { # it refuses to run as root
    local programs as=() data=$folder/postgres/data first=$folder/postgres/password
    programs=$(postgres_programs)
    if [ "$(id -u)" -eq 0 ]; then
        as=(setpriv --reuid postgres --regid postgres --init-groups env HOME="$folder/postgres")
        chgrp postgres "$folder" && chmod 710 "$folder" # it may pass through, not look
    fi
    if [ ! -d "$data" ]; then
        (umask 077 && echo "$password" >"$first")
        [ ${#as[@]} -eq 0 ] || chown -R postgres: "$folder/postgres"
        env -C / ${as[@]+"${as[@]}"} "$programs/initdb" --pgdata "$data" --no-sync --locale C \
            --encoding UTF8 --username teststrip --auth scram-sha-256 --pwfile "$first" \
            >>"$folder/postgres.log" 2>&1 || {
            tail -n 30 "$folder/postgres.log" >&2
            fail "PostgreSQL's data were not set up (see above, $folder/postgres.log)"
        }
        rm "$first"
    fi
    rm -f "$data/postmaster.pid" # of one that was killed and that nobody has reaped yet
    begin postgres ${as[@]+"${as[@]}"} "$programs/postgres" -D "$data" -p "$postgres_port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=32MB
    await_port postgres "$postgres_port"
    local turn
    for turn in $(seq 1200); do # it listens before it has read its journal
        "$programs/pg_isready" -q -h 127.0.0.1 -p "$postgres_port" && return
        is_alive postgres || break
        sleep 0.1
    done
    tail -n 30 "$folder/postgres.log" >&2
    fail "PostgreSQL does not answer (see above, $folder/postgres.log)"
}

start_s3() {
    begin s3 env NANIO_ACCESS_KEY=teststrip NANIO_SECRET_KEY="$password" \
        "$repository/.venv/bin/nanio" serve --data-dir "$folder/s3" \
        --host 127.0.0.1 --port "$s3_port"
    await_port s3 "$s3_port"
}

signal() { # NAME KIND: to its whole process group
    local pid kind=$2 children=""
    pid=$(cat "$folder/pids/$1" 2>/dev/null) || return 0
    if [ "$1" = postgres ]; then # each connection's process has a group of its own
        case $kind in
        TERM) kind=INT ;; # TERM would wait until the last client has left
        *)
            [ "$kind" = CONT ] || kill -STOP "$pid" 2>/dev/null || true # it makes no new ones now
            children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) || true
            ;;
        esac
    fi
    # shellcheck disable=SC2086 # several numbers
    kill "-$kind" -- "-$pid" $children 2>/dev/null || true
}

end() { # NAME [KILL]: politely, then not
    is_alive "$1" || return 0
    signal "$1" "${2:-TERM}"
    local turn
    for turn in $(seq 300); do
        is_alive "$1" || return 0
        sleep 0.1
    done
    signal "$1" KILL
}

one_of_them() {
    case ${1:-} in
    broker | redis | postgres | s3) settings ;;
    *) fail "which one? broker, redis, postgres or s3; got '${1:-}'" ;;
    esac
}

restart() {
    one_of_them "$@"
    local name=$1 how=TERM lose=no flag
    for flag in "${@:2}"; do
        case $flag in
        --kill) how=KILL ;;
        --lose-data) lose=yes ;;
        *) fail "unknown flag $flag; there are --kill and --lose-data" ;;
        esac
    done
    [ $lose = no ] || how=KILL # what is to be lost need not be written
    end "$name" $how
    if [ $lose = yes ]; then
        rm -rf "${folder:?}/$name"
        mkdir -p "$folder/$name/home"
    fi
    "start_$name"
}

start() {
    if [ -f "$folder/settings" ] && is_alive broker; then
        fail "they run already in $folder; stop them first"
    fi
    install_packages
    make_settings
    settings
    local name
    for name in "${names[@]}"; do "start_$name"; done
}

stop() {
    local name
    for name in broker redis postgres s3 epmd; do end "$name"; done
}

clean_up() { # no verb that still runs beside us may start one anew
    rm -f "$folder/settings"
    stop
    sleep 0.3
    stop
    rm -rf "$folder"
}

print_env() {
    settings
    cat <<ENV
export TESTSTRIP_TEST_BROKER=amqp://teststrip:$password@127.0.0.1:$broker_port/
export TESTSTRIP_TEST_REDIS=redis://:$password@127.0.0.1:$redis_port/0
export TESTSTRIP_TEST_POSTGRES=postgresql://teststrip:$password@127.0.0.1:$postgres_port/postgres
export TESTSTRIP_TEST_S3=http://127.0.0.1:$s3_port
export AWS_ACCESS_KEY_ID=teststrip
export AWS_SECRET_ACCESS_KEY=$password
export AWS_REGION=us-east-1
export TESTSTRIP_SERVICES=$folder
ENV
}

run() {
    [ $# -gt 0 ] || fail "run what? scripts/services.sh run COMMAND..."
    folder=$(mktemp -d "${TMPDIR:-/tmp}/teststrip-services.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start
    eval "$(print_env)"
    "$@" # its exit status is ours
}

{ # read as a whole, so that this file may change while it runs
    case ${1:-} in
    start | stop) "$1" ;;
    env) print_env ;;
    run) run "${@:2}" ;;
    restart) restart "${@:2}" ;;
    pause)
        one_of_them "${2:-}"
        end "$2" KILL
        sleep "${3:?for how many seconds?}"
        "start_$2"
        ;;
    hang)
        one_of_them "${2:-}"
        signal "$2" STOP
        sleep "${3:?for how many seconds?}"
        signal "$2" CONT
        ;;
    status)
        settings
        for name in "${names[@]}"; do
            if is_alive "$name"; then echo "$name runs"; else echo "$name does not run"; fi
        done
        ;;
    *) sed -n '2,16s/^# \{0,1\}//p' "$0" && exit 2 ;;
    esac
    exit
}
