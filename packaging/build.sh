#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds Machnet as it ships and makes its packages:
#   packaging/build.sh [--format deb|rpm|both] [--out DIR] [--build DIR] [--jobs N] [--next]
# deb is the default on Debian and its relatives, rpm elsewhere. The packages end up in DIR, by default
# build/package/packages. --next: the same programs as packages of a version one higher, to try upgrades
# with; without debug symbols. See packaging/README.md.
set -eu
umask 022  # folders and archives in the packages would show another one
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

format=deb
[ -e /etc/debian_version ] || format=rpm
build=$top/build/package
out=""
jobs=$(nproc)
next=no
while [ $# -gt 0 ]; do
  case $1 in
    --format) format=${2:?--format needs deb, rpm or both}; shift 2 ;;
    --out) out=$(realpath -m "${2:?--out needs a folder}"); shift 2 ;;
    --build) build=$(realpath -m "${2:?--build needs a folder}"); shift 2 ;;
    --jobs) jobs=${2:?--jobs needs a number}; shift 2 ;;
    --next) next=yes; shift ;;
    -h | --help) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
done
case $format in
  deb | rpm) formats=$format ;;
  both) formats="rpm deb" ;;
  *) printf 'no format %s: deb, rpm or both\n' "$format" >&2; exit 2 ;;
esac
if [ -z "$out" ]; then
  out=$build/packages
  [ $next = no ] || out=$build/packages-next
fi

# The formats differ in folders and names only, so that switching compiles nothing. Last comes the format
# that the distribution has; the tree stays with it.
configure() {
  local libdir=(-UCMAKE_INSTALL_LIBDIR)
  if [ "$1" = rpm ] && [ -e /etc/debian_version ]; then libdir=(-DCMAKE_INSTALL_LIBDIR=lib64); fi
  (cd "$top" && cmake --preset package -B "$build" -DMN_PACKAGE_FORMAT="$1" "${libdir[@]}")
}

mkdir -p "$out"
for format in $formats; do
  configure "$format"
  ninja -C "$build" -j "$jobs"
  rm -f "$out"/*."$format"
  change=()
  if [ $next = yes ]; then
    version=$(sed -n 's/^set(CPACK_PACKAGE_VERSION "\(.*\)")/\1/p' "$build/CPackConfig.cmake")
    change=(-D CPACK_PACKAGE_VERSION="${version%.*}.$((${version##*.} + 1))"
      -D CPACK_COMPONENTS_ALL="service;runtime;devel;tools")
  fi
  cpack --config "$build/CPackConfig.cmake" -G "${format^^}" -B "$out" "${change[@]}"
done
rm -rf "$out/_CPack_Packages" "$out/_info"
if [ "$format" = rpm ] && [ -e /etc/debian_version ]; then configure deb; fi
ls -l "$out"
