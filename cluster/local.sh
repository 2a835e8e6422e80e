#!/usr/bin/env bash
# Several hosts on one machine, each in namespaces of its own: network, processes, host name, and /srv as its own disk.
# Ray runs on them as on a real cluster, so that what crosses a network can be tried and broken. Needs root and iproute2.
#
#   cluster/local.sh up [NUM_WORKERS]      a head that trains nothing and workers of CPUS (1) each; 2 workers by default
#   cluster/local.sh run HOST COMMAND...   on a host: head, worker1, worker2, ...
#   cluster/local.sh cut HOST              pull its cable; `heal HOST` puts it back
#   cluster/local.sh kill HOST             a power cut; `start HOST` boots it and joins Ray again
#   cluster/local.sh list | down
#
# The hosts are 10.199.NET.1 (head), .2, .3, ...; this machine is 10.199.NET.254 to them, and nothing else can be reached.
# NET (7) tells clusters apart, STATE is the folder of their files, PYTHON the interpreter whose Ray is used.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
NET=${NET:-7} CPUS=${CPUS:-1}
STATE=${STATE:-/run/hoir-hosts-$NET}
PYTHON=${PYTHON:-$here/.venv/bin/python}
bridge=hoir$NET
ray=(-m ray.scripts.scripts)

die() {
    echo "cluster/local.sh: $*" >&2
    exit 2
}

number_of() {
    case $1 in
    head) echo 1 ;;
    worker[1-9] | worker[1-9][0-9]) echo $((${1#worker} + 1)) ;;
    *) die "HOST must be head, worker1, worker2, ..., got '$1'" ;;
    esac
}

address_of() { echo "10.199.$NET.$(number_of "$1")"; }

pid_of() {
    local pid
    pid=$(cat "$STATE/$1.pid" 2>/dev/null) || die "there is no host '$1'; cluster/local.sh up"
    kill -0 "$pid" 2>/dev/null || die "host '$1' is not running; cluster/local.sh start $1"
    echo "$pid"
}

# Runs a command on a host, with the environment of every Ray process there.
run() {
    local host=$1 pid settings
    shift
    pid=$(pid_of "$host")
    mapfile -t settings < <(grep -v '^#' "$here/cluster/ray.env")
    nsenter --target "$pid" --mount --uts --net --pid --wd="$PWD" env "${settings[@]}" \
        HOME=/srv/home TMPDIR=/srv/tmp RAY_ADDRESS="$(address_of head):6379" RAY_AUTH_TOKEN_PATH="$STATE/token" "$@"
}

# A host without Ray: its first process, a cable, and an empty disk.
boot() {
    local host=$1 netns=hoir$NET-$1 cable
    cable=hoir$NET-$(number_of "$host")
    ip netns add "$netns"
    ip link add "$cable" type veth peer name eth0 netns "$netns"
    ip link set "$cable" master "$bridge" up
    ip -n "$netns" addr add "$(address_of "$host")/24" dev eth0
    ip -n "$netns" link set eth0 up
    ip -n "$netns" link set lo up
    mkdir -p "/etc/netns/$netns" # mounted over /etc by `ip netns exec`
    cp "$STATE/hosts" "/etc/netns/$netns/hosts"
    # shellcheck disable=SC2016  # the variables are the inner shell's
    setsid ip netns exec "$netns" unshare --mount --uts --pid --fork --kill-child --mount-proc --propagation private \
        bash -c 'hostname "$1"; mount -t tmpfs tmpfs /srv; mkdir -m 1777 /srv/tmp; mkdir /srv/home; : >"$2"; sleep infinity & wait' \
        init "$host" "$STATE/$host.booted" </dev/null >/dev/null 2>&1 &
    local outer=$!
    for _ in $(seq 100); do
        [ -e "$STATE/$host.booted" ] && break
        sleep 0.05
    done
    rm "$STATE/$host.booted"
    pgrep --parent "$outer" | head -n 1 >"$STATE/$host.pid"
    echo "$outer" >"$STATE/$host.outer"
}

start_ray() {
    local host=$1
    if [ "$host" = head ]; then
        set -- --head --port=6379 --num-cpus=0 --dashboard-host=127.0.0.1
    else
        set -- --address="$(address_of head):6379" --num-cpus="$CPUS"
    fi
    for _ in 1 2 3; do # where the machine is busy, Ray gives up on itself after thirty seconds
        run "$host" "$PYTHON" "${ray[@]}" start "$@" --node-ip-address="$(address_of "$host")" --temp-dir=/srv/ray \
            --object-store-memory=100000000 --disable-usage-stats >"$STATE/$host.log" 2>&1 && return
        run "$host" pkill -9 -f /srv/ray || true
    done
    cat "$STATE/$host.log" >&2
    die "Ray did not start on '$host'"
}

up() {
    local workers=${1:-2} hosts=(head)
    [ "$(id -u)" = 0 ] || die "needs root, for network namespaces"
    command -v ip nsenter unshare >/dev/null || die "needs ip, nsenter and unshare (Debian: iproute2, util-linux)"
    [ -e "$STATE" ] && die "a cluster is up already ($STATE); cluster/local.sh down"
    for i in $(seq "$workers"); do hosts+=("worker$i"); done
    mkdir -p "$STATE"
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$STATE/token")
    {
        echo "127.0.0.1 localhost"
        for host in "${hosts[@]}"; do echo "$(address_of "$host") $host"; done
    } >"$STATE/hosts"
    ip link add "$bridge" type bridge
    ip addr add "10.199.$NET.254/24" dev "$bridge"
    ip link set "$bridge" up
    for host in "${hosts[@]}"; do boot "$host"; done
    start_ray head
    local started=()
    for host in "${hosts[@]:1}"; do
        start_ray "$host" &
        started+=($!)
    done
    for pid in "${started[@]}"; do wait "$pid"; done
    echo "up: ${hosts[*]}; cluster/local.sh run head hoir sweep SWEEP.yaml --address auto"
}

halt() {
    local host=$1 netns=hoir$NET-$1
    xargs -r kill -9 <"$STATE/$host.outer" 2>/dev/null || true
    ip netns pids "$netns" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$netns" 2>/dev/null || true
    ip link del "hoir$NET-$(number_of "$host")" 2>/dev/null || true
    rm -rf "/etc/netns/$netns" "$STATE/$host.pid" "$STATE/$host.outer"
}

down() {
    for file in "$STATE"/*.outer; do
        [ -e "$file" ] && halt "$(basename "$file" .outer)"
    done
    ip link del "$bridge" 2>/dev/null || true
    rm -rf "$STATE"
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
up) up "$@" ;;
run) [ $# -ge 2 ] || die "run HOST COMMAND..."; run "$@" ;;
cut) ip link set "hoir$NET-$(number_of "${1:?HOST}")" down ;;
heal) ip link set "hoir$NET-$(number_of "${1:?HOST}")" up ;;
kill) pid_of "${1:?HOST}" >/dev/null && halt "$1" ;;
start) boot "${1:?HOST}" && start_ray "$1" ;;
list) cat "$STATE/hosts" 2>/dev/null || die "no cluster is up" ;;
down) down ;;
*) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; exit 2 ;;
esac
