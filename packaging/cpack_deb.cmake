# SPDX-License-Identifier: MIT
# The Debian packages; see cpack_options.cmake.
set(full_version ${machnet_version}-${machnet_release})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${machnet_release})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${CPACK_PACKAGE_CONTACT}")
set(CPACK_DEBIAN_PACKAGE_SOURCE machnet)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
# The tools find the library of this build; which package it is in is said below.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CPACK_MACHNET_BUILD_DIR}/libmachnet)

# ---- changelog.Debian.gz, the same in each package
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # of SOURCE_DATE_EPOCH
file(WRITE ${work}/changelog.Debian
"machnet (${full_version}) stable; urgency=medium

  * Machnet ${machnet_version}.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
execute_process(COMMAND gzip -9nf ${work}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)
set(ENV{MN_PACKAGE_CHANGELOG} ${work}/changelog.Debian.gz)

foreach(component service runtime devel tools)
  string(TOUPPER ${component} upper)
  machnet_describe(${component})
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${CPACK_MACHNET_PACKAGE_${component}})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}")
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n${description}")
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
set(CPACK_DEBIAN_RUNTIME_PACKAGE_MULTIARCH same)
configure_file(${here}/deb/libmachnet0.symbols ${work}/runtime/symbols COPYONLY)
file(WRITE ${work}/runtime/shlibs "libmachnet 0 libmachnet0 (>= ${machnet_version})\n")
file(WRITE ${work}/runtime/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    ${work}/runtime/symbols ${work}/runtime/shlibs ${work}/runtime/triggers)

# ---- libmachnet-dev, machnet-tools
set(CPACK_DEBIAN_DEVEL_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVEL_PACKAGE_MULTIARCH same)
set(CPACK_DEBIAN_DEVEL_PACKAGE_DEPENDS "libmachnet0 (= ${full_version})")
set(CPACK_DEBIAN_DEVEL_DEBUGINFO_PACKAGE OFF)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libmachnet0 (>= ${machnet_version})")
