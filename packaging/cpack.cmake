# SPDX-License-Identifier: MIT
# The packages, as far as it is known when the build is configured. What depends on their version, which
# `cpack -D CPACK_PACKAGE_VERSION=...` may choose, or on the date is in cpack_options.cmake.

# Nobody's address, and one that can be nobody's (RFC 2606): whoever ships packages gives their own.
set(MN_PACKAGE_MAINTAINER "The Machnet developers <no-reply@machnet.example>" CACHE STRING
    "Who answers for the packages: Name <mail address>")

# Libraries of DPDK that machnetd loads when it knows its NICs; no tool sees that it needs them. The same as
# in daemon/nic/nic_mode.cc, which a test compares, and what those look for at run time.
set(drivers bus_pci bus_vdev bus_vmbus mempool_ring net_af_packet net_af_xdp net_bnxt net_e1000 net_ena
            net_gve net_i40e net_iavf net_ice net_igc net_ixgbe net_memif net_mlx4 net_mlx5 net_netvsc
            net_virtio net_vmxnet3)
set(CPACK_MACHNET_DRIVER_PACKAGES "")
find_library(MN_RTE_EAL rte_eal PATHS ${DPDK_LIBRARY_DIRS})
get_filename_component(eal "${MN_RTE_EAL}" REALPATH)
if(MN_PACKAGE_FORMAT STREQUAL "deb" AND eal MATCHES "^(.*)/librte_eal\\.so\\.([0-9]+)")
  set(libdir ${CMAKE_MATCH_1})
  set(abi ${CMAKE_MATCH_2})
  foreach(driver IN LISTS drivers)
    # Not every driver exists on every processor.
    if(EXISTS ${libdir}/librte_${driver}.so.${abi})
      string(REPLACE "_" "-" package librte-${driver})
      string(REGEX REPLACE "([0-9])$" "\\1-" package ${package})
      list(APPEND CPACK_MACHNET_DRIVER_PACKAGES ${package}${abi})
    endif()
  endforeach()
endif()

set(CPACK_PACKAGE_NAME machnet)
set(CPACK_PACKAGE_VENDOR "The Machnet developers")
set(CPACK_PACKAGE_CONTACT "${MN_PACKAGE_MAINTAINER}")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_SET_DESTDIR ON)  # some files live outside the prefix
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_THREADS 1)  # more change what the compressor writes
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL ${MN_COMPONENTS})
foreach(component IN LISTS MN_DEBUG_COMPONENTS)
  list(APPEND CPACK_COMPONENTS_ALL ${component}_debug)
endforeach()
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/packaging/cpack_options.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/cpack_dates.cmake)
set(CPACK_POST_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/cpack_deb_order.cmake)
set(CPACK_MACHNET_SOURCE_DIR ${PROJECT_SOURCE_DIR})
set(CPACK_MACHNET_FORMAT ${MN_PACKAGE_FORMAT})
set(CPACK_MACHNET_BUILD_DIR ${PROJECT_BINARY_DIR})
set(CPACK_MACHNET_LIBDIR ${CMAKE_INSTALL_LIBDIR})
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  set(CPACK_MACHNET_PACKAGE_${component} ${MN_PACKAGE_${component}})
endforeach()
set(CPACK_MACHNET_DEBUG_COMPONENTS ${MN_DEBUG_COMPONENTS})
string(TOUPPER ${MN_PACKAGE_FORMAT} CPACK_GENERATOR)
set(CPACK_SOURCE_GENERATOR "")
include(CPack)
