# SPDX-License-Identifier: MIT
# The Debian packages; see cpack_options.cmake. Their version is Machnet's own, without a Debian revision: the
# packaging is part of the sources.
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${CPACK_PACKAGE_CONTACT}")
set(CPACK_DEBIAN_PACKAGE_SOURCE machnet)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# The tools find the library of this build; which package it is in is said below.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CPACK_MACHNET_BUILD_DIR}/libmachnet)

# ---- changelog.gz, the same in each package
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # of SOURCE_DATE_EPOCH
file(WRITE ${work}/changelog
"machnet (${CPACK_PACKAGE_VERSION}) stable; urgency=medium

  * Machnet ${CPACK_PACKAGE_VERSION}.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
execute_process(COMMAND gzip -9nf ${work}/changelog COMMAND_ERROR_IS_FATAL ANY)
set(ENV{MN_PACKAGE_CHANGELOG} ${work}/changelog.gz)

# CPack would put the summary of the whole project before each description.
unset(CPACK_PACKAGE_DESCRIPTION_SUMMARY)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  machnet_describe(${component})
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${CPACK_MACHNET_PACKAGE_${component}})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}")
endforeach()
foreach(component IN LISTS CPACK_MACHNET_DEBUG_COMPONENTS)
  string(TOUPPER ${component}_debug upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION debug)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SHLIBDEPS OFF)
  set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS
      "${CPACK_MACHNET_PACKAGE_${component}} (= ${CPACK_PACKAGE_VERSION})")
endforeach()

# ---- machnet
list(JOIN CPACK_MACHNET_DRIVER_PACKAGES ", " drivers)
set(CPACK_DEBIAN_SERVICE_PACKAGE_DEPENDS
    "systemd, driverctl, kmod, ${drivers}, librte-meta-net, librte-meta-bus, librte-meta-mempool")
set(CPACK_DEBIAN_SERVICE_PACKAGE_SUGGESTS machnet-tools)
set(CPACK_DEBIAN_SERVICE_PACKAGE_SECTION net)
file(WRITE ${work}/service/conffiles "/etc/machnet.conf\n")
foreach(script postinst prerm postrm)
  configure_file(${here}/deb/machnet.${script} ${work}/service/${script} COPYONLY)
endforeach()
set(CPACK_DEBIAN_SERVICE_PACKAGE_CONTROL_EXTRA
    ${work}/service/conffiles ${work}/service/postinst ${work}/service/prerm ${work}/service/postrm)

# ---- libmachnet0. Programs need the version that brought the newest symbol they use (symbols).
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
# With SHLIBDEPS CPack would also write scripts that run ldconfig, which the trigger does better.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS OFF)
file(WRITE ${work}/debian/control "Source: machnet\n\nPackage: libmachnet0\nArchitecture: any\n")
execute_process(COMMAND dpkg-shlibdeps -O ${CPACK_MACHNET_BUILD_DIR}/libmachnet/libmachnet.so.0
                WORKING_DIRECTORY ${work} OUTPUT_VARIABLE depends ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "^shlibs:Depends=([^\n]*)\n.*" "\\1" CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "${depends}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_MULTIARCH same)  # understood by CMake 3.31 and later
configure_file(${here}/deb/libmachnet0.symbols ${work}/runtime/symbols COPYONLY)
file(WRITE ${work}/runtime/shlibs "libmachnet 0 libmachnet0 (>= ${CPACK_PACKAGE_VERSION})\n")
file(WRITE ${work}/runtime/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${work}/runtime/symbols ${work}/runtime/shlibs ${work}/runtime/triggers)

# ---- libmachnet-dev, machnet-tools
set(CPACK_DEBIAN_DEVEL_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVEL_PACKAGE_MULTIARCH same)
set(CPACK_DEBIAN_DEVEL_PACKAGE_DEPENDS "libmachnet0 (= ${CPACK_PACKAGE_VERSION})")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libmachnet0 (>= ${CPACK_PACKAGE_VERSION})")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "wireshark | tshark")
