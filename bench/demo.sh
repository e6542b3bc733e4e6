#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Machnet on one machine, as root on a bare Debian 12, from a clone:  bench/demo.sh [--mode af_packet|af_xdp]
# Installs what it needs, builds, makes two hosts (network namespaces joined by a cable, a veth pair),
# starts a machnetd in each, says hello from one to the other, then measures for a few seconds.
# Everything runs in namespaces of this program's own: when it ends, however it ends, nothing is left.
set -eu
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$top/test/support/setup.sh"
build=$top/build/release
mode=af_packet
seconds=4

prepare() {
  while [ $# -gt 0 ]; do
    case $1 in
      --mode) mode=${2:?--mode needs af_packet or af_xdp}; shift 2 ;;
      -h | --help) sed -n '3,6s/^# //p' "$0"; exit 0 ;;
      *) printf 'unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
    esac
  done
  if [ "$(id -u)" -ne 0 ]; then
    printf 'bench/demo.sh makes network namespaces: run it as root\n' >&2
    exit 1
  fi
  # shellcheck disable=SC2086
  mn_install "$top/build/log" $MN_BUILD_PACKAGES
  mn_build "$top" release "$(nproc)" machnetd hello_world msg_gen
  exec unshare --mount --net --pid --fork --kill-child=KILL --mount-proc \
    env MACHNET_DEMO_INSIDE="$mode" bash "$top/bench/demo.sh"
}

# on HOST COMMAND...: runs a command on host A or B, with that host's machnetd.
on() {
  local host=$1
  shift
  MACHNET_SOCKET=/run/machnet/$host.sock LD_LIBRARY_PATH=$build/libmachnet \
    ip netns exec "host$host" "$@"
}

wait_for() {  # wait_for FILE PATTERN WHAT
  for _ in $(seq 200); do
    if grep -qE "$2" "$1" 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  printf '%s did not start; it said:\n' "$3" >&2
  cat "$1" >&2
  exit 1
}

make_hosts() {
  mount -t tmpfs none /run
  mkdir -p /run/machnet /run/netns /run/demo
  for host in A B; do
    ip netns add host$host
    ip -n host$host link set dev lo up
  done
  ip link add dp0 netns hostA type veth peer name dp0 netns hostB
  for host in A B; do
    ip -n host$host link set dev dp0 up
    ip netns exec host$host sysctl -q -w net.ipv6.conf.dp0.disable_ipv6=1 2>/dev/null || true
    ip netns exec host$host ethtool -K dp0 tx off >/dev/null 2>&1 || true
  done
}

start_machnetd() {  # start_machnetd HOST ADDRESS
  cat >"/run/demo/$1.conf" <<CONFIG
[machnet]
socket = /run/machnet/$1.sock

[nic dp0]
address = $2/24
mode = $mode
CONFIG
  on "$1" "$build/daemon/machnetd" --config "/run/demo/$1.conf" >"/run/demo/machnetd-$1" 2>&1 &
  for _ in $(seq 200); do
    if [ -S "/run/machnet/$1.sock" ]; then return 0; fi
    sleep 0.05
  done
  printf 'machnetd did not start; it said:\n' >&2
  cat "/run/demo/machnetd-$1" >&2
  exit 1
}

show() {  # show TITLE ARGUMENTS...: msg_gen from A to B
  mn_say "$1"
  shift
  on A "$build/libmachnet/tools/msg_gen" --local_ip 10.77.0.1 --remote_ip 10.77.0.2 \
    --duration "$seconds" "$@"
}

demo() {
  mode=$MACHNET_DEMO_INSIDE
  trap 'exit 130' INT TERM
  mn_say "two hosts, A (10.77.0.1) and B (10.77.0.2), joined by a cable; a machnetd on each ($mode)"
  make_hosts
  start_machnetd A 10.77.0.1
  start_machnetd B 10.77.0.2
  sed 's/^/   /' /run/demo/B.conf

  mn_say "hello_world from A to B"
  on B "$build/libmachnet/hello_world" --listen 10.77.0.2 >/run/demo/hello 2>&1 &
  wait_for /run/demo/hello '^listening' "hello_world's server"
  on A "$build/libmachnet/hello_world" --connect 10.77.0.2 | sed 's/^/   on A: /'
  grep says /run/demo/hello | sed 's/^/   on B: /'

  on B "$build/libmachnet/tools/msg_gen" --local_ip 10.77.0.2 --local_port 999 >/run/demo/msg_gen 2>&1 &
  sleep 0.3
  show "64-byte messages, one at a time: latency" --remote_port 999 --msg_size 64 --msg_window 1
  show "64-byte messages, 32 in flight: rate" --remote_port 999 --msg_size 64 --msg_window 32
  show "8 KB messages, 32 in flight, every byte checked" --remote_port 999 --msg_size 8192 \
    --msg_window 32 --verify
  mn_say "done: the hosts, their cable and both services are gone"
}

if [ -z "${MACHNET_DEMO_INSIDE:-}" ]; then prepare "$@"; else demo; fi
