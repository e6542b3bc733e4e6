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

# ---- What each package says of itself: a summary, an empty line, a description.
set(text_service "Messages between hosts without the kernel's network stack

machnetd drives a network card from user space through DPDK and carries
messages between applications on different hosts: reliable, in order, at tens
of microseconds. It runs under systemd, takes the card that /etc/machnet.conf
names and gives it back to the kernel when it stops. Installing it touches no
card.")
set(text_runtime "Library for messages between hosts through Machnet

Applications link this library to send and receive messages through the
Machnet daemon of their host, which carries them past the kernel's network
stack. It needs nothing but the C library.")
set(text_devel "Development files of libmachnet

Header, descriptions for pkg-config and CMake, manual pages and an example,
for programs that send and receive messages through Machnet.")
set(text_tools "Measuring tools for messages through Machnet

msg_gen sends messages between two hosts through Machnet and measures round
trips and throughput. A dissector shows Machnet's packets in Wireshark.")

# Sets `summary` and `description` of a component.
macro(machnet_describe component)
  if("${component}" MATCHES "^(.*)_debug$")
    set(package ${CPACK_MACHNET_PACKAGE_${CMAKE_MATCH_1}})
    set(summary "Debug symbols of ${package}")
    set(description "What debuggers need to show the places in the sources that the programs and\n"
                    "libraries of ${package} were built from.")
    string(REPLACE ";" "" description "${description}")
  else()
    string(FIND "${text_${component}}" "\n\n" end)
    string(SUBSTRING "${text_${component}}" 0 ${end} summary)
    math(EXPR end "${end} + 2")
    string(SUBSTRING "${text_${component}}" ${end} -1 description)
  endif()
endmacro()

file(MAKE_DIRECTORY ${work})
include(${here}/cpack_${CPACK_MACHNET_FORMAT}.cmake)
