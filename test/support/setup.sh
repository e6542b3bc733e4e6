# SPDX-License-Identifier: MIT
# Sourced by test/run.sh and bench/demo.sh: install what a build needs, and run long commands so that
# they show that they live. Never leaves a process behind.

# What a bare Debian 12 lacks to build everything and to run its tests.
MN_BUILD_PACKAGES="gcc g++ cmake ninja-build pkg-config libc6-dev linux-libc-dev libdpdk-dev
  libinih-dev libsystemd-dev libbpf-dev libmnl-dev libcurl4-openssl-dev
  libjansson-dev libcmocka-dev clang binutils
  iproute2 ethtool procps python3 make git ca-certificates mandoc tshark
  systemd-container mmdebstrap dpkg-dev lintian rpm rpmlint busybox-static file gzip"
# What `test/run.sh --system` needs besides, to run virtual machines.
MN_MACHINE_PACKAGES="qemu-system-x86 busybox-static e2fsprogs kmod"

mn_say() { printf '== %s\n' "$*"; }

# mn_live TEXT LOG COMMAND...: runs the command with its output in LOG; prints where it is every few
# seconds and, if it fails, the log's end.
mn_live() {
  local text=$1 log=$2 started=$SECONDS rc=0 last_shown=$SECONDS child
  shift 2
  mkdir -p "$(dirname "$log")"
  mn_say "$text"
  "$@" >"$log" 2>&1 </dev/null &
  child=$!
  trap 'kill "$child" 2>/dev/null; exit 130' INT TERM
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.5
    if [ $((SECONDS - last_shown)) -ge 10 ]; then
      last_shown=$SECONDS
      printf '   %4d s  %s\n' $((SECONDS - started)) "$(tail -c 2000 "$log" | tail -n 1 | cut -c 1-100)"
    fi
  done
  wait "$child" || rc=$?
  trap - INT TERM
  if [ "$rc" -ne 0 ]; then
    printf '   failed (exit code %d) after %d s; the end of %s:\n' "$rc" $((SECONDS - started)) "$log"
    grep -nE 'error:|undefined reference|FAILED:|^E: ' "$log" | head -n 20
    tail -n 25 "$log"
  else
    printf '   done in %d s\n' $((SECONDS - started))
  fi
  return "$rc"
}

# mn_install LOG_DIR PACKAGE...: installs those that are missing, from the distribution only.
mn_install() {
  local log_dir=$1 missing="" package
  shift
  if ! command -v dpkg-query >/dev/null; then
    mn_say "this is no Debian: assuming that the tools and libraries are installed"
    return 0
  fi
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    printf 'missing packages, install them as root:%s\n' "$missing" >&2
    return 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  mn_live "reading the package lists" "$log_dir/apt-update.log" apt-get -q update || return 1
  # shellcheck disable=SC2086
  mn_live "installing$missing" "$log_dir/apt-install.log" \
    apt-get -q -y --no-install-recommends install $missing
}

# mn_build SOURCE_DIR PRESET JOBS [TARGET...]: configures where needed and builds.
mn_build() {
  local source=$1 preset=$2 jobs=$3 log="$1/build/log"
  shift 3
  if [ ! -f "$source/build/$preset/build.ninja" ]; then
    (cd "$source" && mn_live "configuring $preset" "$log/configure-$preset.log" \
      cmake --preset "$preset") || { rm -f "$source/build/$preset/CMakeCache.txt"; return 1; }
  fi
  mn_live "building $preset ${*:-(everything)}" "$log/build-$preset.log" \
    ninja -C "$source/build/$preset" -j "$jobs" "$@"
}
