#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds Machnet and runs every test, as root on a bare Debian 12, from a clone:
#   test/run.sh [--label unit|lint|sim|fuzz|concurrency|integration|package|system] [--jobs N] [--system]
# Without a label: everything, except what --system adds: whole virtual machines with emulated NICs behind
# an IOMMU, which take minutes. The last line is "N passed, N failed[, N skipped]"; the exit code is 0
# only when nothing failed. Builds live in build/<preset>, logs in build/log.
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$top/test/support/setup.sh"

label=""
machines=no
jobs=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    --label) label=${2:?--label needs a name}; shift 2 ;;
    --system) machines=yes; shift ;;
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    -h | --help) sed -n '3,7s/^# //p' "$0"; exit 0 ;;
    *) printf 'unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
done
case $label in
  "" | unit | lint | sim | fuzz | concurrency | integration | package | system) ;;
  *) printf 'no label %s: unit lint sim fuzz concurrency integration package system\n' "$label" >&2; exit 2 ;;
esac

passed=0
failed=0
skipped=0
failures=""
skips=""
unrandomised=""
log_dir=$top/build/log
mkdir -p "$log_dir"

add_failure() {
  failed=$((failed + 1))
  failures="$failures  $1"$'\n'
}

finish() {
  if [ -n "$failures" ]; then
    printf 'failed:\n%s' "$failures"
  fi
  if [ -n "$skips" ]; then
    printf 'skipped:\n%s' "$skips"
  fi
  local summary="$passed passed, $failed failed"
  [ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
  printf '%s\n' "$summary"
  [ "$failed" -eq 0 ]
  exit
}

# run_tests PRESET CTEST_ARGUMENTS...: the tests of one build tree, counted from ctest's own report.
run_tests() {
  local preset=$1 report=$top/build/log/junit-$1.xml counts name
  shift
  rm -f "$report"
  mn_say "testing $preset"
  $unrandomised ctest --test-dir "$top/build/$preset" --output-on-failure --no-tests=ignore -j "$jobs" \
    --output-junit "$report" "$@" </dev/null
  if ! counts=$(python3 "$top/test/support/junit_counts.py" "$report" "$preset"); then
    add_failure "$preset: the test runner itself"
    return
  fi
  while read -r kind name; do
    case $kind in
      passed) passed=$((passed + name)) ;;
      skipped)
        skipped=$((skipped + 1))
        skips="$skips  $name"$'\n'
        ;;
      failed) add_failure "$name" ;;
    esac
  done <<<"$counts"
}

# Fresh seeds are fresh for each commit: new ones all the time, and a failure belongs to what it fails on.
if commit=$(git -C "$top" rev-parse --short=8 HEAD 2>/dev/null); then
  export MN_FRESH_SEED=$((16#$commit))
fi

wants() { [ -z "$label" ] || case " $* " in *" $label "*) true ;; *) false ;; esac; }

# shellcheck disable=SC2086
mn_install "$log_dir" $MN_BUILD_PACKAGES || { add_failure "installing packages"; finish; }

# Sanitized: everything but the timing-bound integration scenarios.
if wants unit lint sim fuzz concurrency integration; then
  # shellcheck disable=SC2086
  if mn_build "$top" dev "$jobs" ${label:+mn_tests_$label}; then
    if [ -n "$label" ]; then run_tests dev -L "^$label\$"; else run_tests dev; fi
  else
    add_failure "build dev"
  fi
fi
# As it ships: real services between network namespaces, thousands of simulated seeds (a sanitized build has
# time for hundreds), and the archives and the library as they are.
if wants integration lint sim; then
  if mn_build "$top" release "$jobs" mn_tests_integration mn_tests_lint mn_tests_sim; then
    run_tests release -L "^(${label:-integration|lint|sim})\$"
  else
    add_failure "build release"
  fi
fi
if wants concurrency; then
  if mn_build "$top" tsan "$jobs" mn_tests_concurrency; then
    # Address-space randomisation of newer kernels exceeds what ThreadSanitizer of gcc 12 can map.
    if setarch -R true 2>/dev/null; then unrandomised="setarch -R"; fi
    TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}" run_tests tsan -L '^concurrency$'
  else
    add_failure "build tsan"
  fi
fi
# The packages: what they are, and on real systemd what they do.
# shellcheck disable=SC2086
if [ $machines = yes ] && ! mn_install "$log_dir" $MN_MACHINE_PACKAGES; then
  add_failure "installing packages for virtual machines"
  finish
fi
if wants package system || [ $machines = yes ]; then
  if mn_live "building the packages" "$log_dir/packages.log" \
      "$top/packaging/build.sh" --format both --jobs "$jobs" &&
    mn_live "making those of a higher version" "$log_dir/packages-next.log" \
      "$top/packaging/build.sh" --format both --jobs "$jobs" --next; then
    if wants package; then run_tests package -L '^package$'; fi
    if wants system || [ $machines = yes ]; then
      if mn_build "$top" release "$jobs" mn_tests_system; then
        if wants system; then run_tests release -L '^system$'; fi
        if [ $machines = yes ]; then run_tests release -L '^machines$'; fi
      else
        add_failure "build release for the system tests"
      fi
    fi
  else
    add_failure "build package"
  fi
fi
finish
