# SPDX-License-Identifier: MIT
# Runs at installation: the debug information of `elf`, where debuggers look for it by build ID.
execute_process(COMMAND readelf -n ${elf} OUTPUT_VARIABLE notes COMMAND_ERROR_IS_FATAL ANY)
if(NOT notes MATCHES "Build ID: ([0-9a-f][0-9a-f])([0-9a-f]+)")
  message(FATAL_ERROR "${elf} has no build ID")
endif()
set(folder "$ENV{DESTDIR}/usr/lib/debug/.build-id/${CMAKE_MATCH_1}")
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND objcopy --only-keep-debug ${elf} ${folder}/${CMAKE_MATCH_2}.debug
                COMMAND_ERROR_IS_FATAL ANY)
