# SPDX-License-Identifier: MIT
# Runs after the packages are written. CPack puts files into a Debian package in the order in which the file
# system of the build lists them, and counts its folders' sizes: both are other ones elsewhere. dpkg-deb sorts,
# and the size is counted as dpkg-gencontrol(1) does: each file in whole KiB, anything else as one.
set(count "find . -mindepth 1 -path ./DEBIAN -prune -o -printf '%y %s\\n' |
           awk '{ kib += $1 == \"f\" ? int(($2 + 1023) / 1024) : 1 } END { print kib }'")
foreach(package IN LISTS CPACK_PACKAGE_FILES)
  if(NOT package MATCHES "\\.deb$")
    continue()
  endif()
  set(tree ${package}.tree)
  execute_process(COMMAND dpkg-deb --raw-extract ${package} ${tree} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND env LC_ALL=C sort -k 2 -o DEBIAN/md5sums DEBIAN/md5sums
                  WORKING_DIRECTORY ${tree} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND sh -c ${count} WORKING_DIRECTORY ${tree} OUTPUT_VARIABLE kib
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND sed -i "s/^Installed-Size: .*/Installed-Size: ${kib}/" DEBIAN/control
                  WORKING_DIRECTORY ${tree} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND dpkg-deb --root-owner-group -Zxz --build ${tree} ${package}
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE ${tree})
endforeach()
