# SPDX-License-Identifier: MIT
# What the two package formats call things and where they want them. `deb` and `rpm` differ in names
# and folders only: a build tree can be switched from one to the other without compiling anything.
if(NOT DEFINED MN_PACKAGE_FORMAT)
  set(format deb)
  if(EXISTS /etc/redhat-release OR EXISTS /etc/SuSE-release OR EXISTS /usr/lib/sysimage/rpm)
    set(format rpm)
  endif()
  set(MN_PACKAGE_FORMAT ${format} CACHE STRING "Packages to make: deb or rpm")
endif()
if(NOT MN_PACKAGE_FORMAT MATCHES "^(deb|rpm)$")
  message(FATAL_ERROR "MN_PACKAGE_FORMAT is \"${MN_PACKAGE_FORMAT}\": set it to deb or rpm")
endif()

# Components of the installation and the packages that they become; those with programs in them have
# another with their debug symbols.
set(MN_COMPONENTS service runtime devel tools)
set(MN_DEBUG_COMPONENTS service runtime tools)
set(MN_PACKAGE_service machnet)
set(MN_PACKAGE_tools machnet-tools)
if(MN_PACKAGE_FORMAT STREQUAL "deb")
  set(MN_PACKAGE_runtime libmachnet0)
  set(MN_PACKAGE_devel libmachnet-dev)
  set(debug dbgsym)
else()
  set(MN_PACKAGE_runtime libmachnet)
  set(MN_PACKAGE_devel libmachnet-devel)
  set(debug debuginfo)
  set(CMAKE_INSTALL_SO_NO_EXE 0)  # rpm looks for sonames only in files that may be executed
endif()
foreach(component IN LISTS MN_DEBUG_COMPONENTS)
  set(MN_PACKAGE_${component}_debug ${MN_PACKAGE_${component}}-${debug})
endforeach()
foreach(component IN LISTS MN_COMPONENTS)
  set(MN_DOCDIR_${component} ${CMAKE_INSTALL_DATAROOTDIR}/doc/${MN_PACKAGE_${component}})
endforeach()

# The same commit gives the same bytes, wherever it is built: no folder of the build machine in the code
# or its debug information.
option(MN_REPRODUCIBLE "Leave the build's folders out of what is built" OFF)
if(MN_REPRODUCIBLE)
  # The last map that fits wins: a build folder inside the source folder comes after it. What asserts
  # print begins at the source folder.
  set(mapped /usr/src/machnet-${PROJECT_VERSION})
  set(maps -ffile-prefix-map=${PROJECT_SOURCE_DIR}=${mapped}
           -ffile-prefix-map=${PROJECT_BINARY_DIR}=${mapped}
           -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
  add_compile_options(${maps})
  add_link_options(${maps})
  set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)  # else the build IDs know the folder
endif()
