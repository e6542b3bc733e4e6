# SPDX-License-Identifier: MIT
# Runs at installation: the debug information of `elf`, where debuggers look for it by build ID. `doc`, if
# there is to be one, is a folder of documentation that only points at that of the package itself.
execute_process(COMMAND readelf -n ${elf} OUTPUT_VARIABLE notes COMMAND_ERROR_IS_FATAL ANY)
if(NOT notes MATCHES "Build ID: ([0-9a-f][0-9a-f])([0-9a-f]+)")
  message(FATAL_ERROR "${elf} has no build ID")
endif()
set(folder "$ENV{DESTDIR}/usr/lib/debug/.build-id/${CMAKE_MATCH_1}")
file(MAKE_DIRECTORY ${folder})
execute_process(COMMAND objcopy --only-keep-debug ${elf} ${folder}/${CMAKE_MATCH_2}.debug
                COMMAND_ERROR_IS_FATAL ANY)
file(CHMOD ${folder}/${CMAKE_MATCH_2}.debug PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
if(doc)
  get_filename_component(parent "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${doc}" DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${doc_target} $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${doc} SYMBOLIC)
endif()
