# SPDX-License-Identifier: MIT
# Read by cpack itself, when packages are made: date, version, and what follows from them.
set(here ${CPACK_MACHNET_SOURCE_DIR}/packaging)
set(work ${CPACK_PACKAGE_DIRECTORY}/_info)

# ---- The date of the packages: that of the commit; of an unpacked release, that of its files.
if("$ENV{SOURCE_DATE_EPOCH}" STREQUAL "")
  execute_process(COMMAND git -c safe.directory=* -C ${CPACK_MACHNET_SOURCE_DIR} log -1 --format=%ct
                  OUTPUT_VARIABLE epoch RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed OR NOT epoch MATCHES "^[0-9]+$")
    file(TIMESTAMP ${CPACK_MACHNET_SOURCE_DIR}/CMakeLists.txt epoch "%s" UTC)
  endif()
  set(ENV{SOURCE_DATE_EPOCH} ${epoch})
endif()

set(machnet_version ${CPACK_PACKAGE_VERSION})
set(machnet_release 1)
set(text_service "Messages between hosts without the kernel's network stack
 machnetd drives a network card from user space through DPDK and carries
 messages between applications on different hosts: reliable, in order, at tens
 of microseconds. It runs under systemd, takes the card that /etc/machnet.conf
 names and gives it back to the kernel when it stops. Installing it touches no
 card.")
set(text_runtime "Client library of the Machnet message service
 Applications link this library to send and receive messages through the Machnet
 service of their host. It needs nothing but the C library.")
set(text_devel "Development files of the Machnet message service
 Header, pkg-config and CMake descriptions, manual pages and an example for
 programs that use libmachnet.")
set(text_tools "Measuring tools for the Machnet message service
 msg_gen sends messages between two hosts over Machnet and measures round trips
 and throughput.")
set(text_debuginfo "Debug symbols of Machnet
 The debug information of machnetd, libmachnet and the tools, for debuggers.")

# Summary and description, which have one source but two forms.
macro(machnet_describe component)
  string(REGEX MATCH "^[^\n]*" summary "${text_${component}}")
  string(REGEX REPLACE "^[^\n]*\n" "" description "${text_${component}}")
  string(REGEX REPLACE "(^|\n) " "\\1" description "${description}")
endmacro()

file(MAKE_DIRECTORY ${work})
include(${here}/cpack_${CPACK_MACHNET_FORMAT}.cmake)
