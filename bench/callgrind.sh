#!/bin/sh
# SPDX-License-Identifier: MIT
# Instructions for each request-response, stage by stage, under callgrind.
#   bench/callgrind.sh [PATH OF stage_cost] [more flags for it, e.g. --offload]
# The numbers do not depend on the machine's speed or load: compare them between two commits.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../build/release/bench/stage_cost}
[ $# -gt 0 ] && shift
command -v valgrind >/dev/null || { echo "callgrind.sh: valgrind is missing: apt install valgrind" >&2; exit 1; }
[ -x "$program" ] || { echo "callgrind.sh: no program at $program: cmake --build --preset release" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

stages='stage_client_send stage_client_engine_out stage_server_engine_in stage_server('
stages="$stages stage_server_engine_out stage_client_engine_in stage_client_receive"
printf '%-14s' 'size, window'
for title in 'client send' 'engine out' 'engine in' 'server' 'engine out' 'engine in' 'client recv' 'all'; do
  printf ' %11s' "$title"
done
printf '\n'
for cell in 64:1:4000 64:32:8000 1024:1:4000 1024:32:8000 8192:1:500 8192:32:1000 65536:1:100 65536:32:200; do
  size=${cell%%:*} rest=${cell#*:}
  window=${rest%%:*} count=${rest#*:}
  valgrind --tool=callgrind --callgrind-out-file="$work/out" '--toggle-collect=*stage_*' \
    "$program" --quiet --msg_size "$size" --msg_window "$window" --count "$count" "$@" \
    >"$work/stdout" 2>"$work/stderr" || { cat "$work/stderr" >&2; exit 1; }
  messages=$(awk '/^messages/ {print $2}' "$work/stdout")
  callgrind_annotate --inclusive=yes --threshold=100 --show-percs=no "$work/out" >"$work/table"
  printf '%-14s' "$size, $window"
  all=0
  for stage in $stages; do
    count=$(grep -F "$stage" "$work/table" | head -n 1 | awk '{gsub(",", "", $1); print $1}')
    each=$((${count:-0} / messages))
    all=$((all + each))
    printf ' %11d' "$each"
  done
  printf ' %11d\n' "$all"
done
