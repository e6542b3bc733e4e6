# SPDX-License-Identifier: MIT
# The rpm packages, under Fedora's names; see cpack_options.cmake.
set(release 1)
set(full_version ${CPACK_PACKAGE_VERSION}-${release})
set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_MAIN_COMPONENT service)
set(CPACK_RPM_PACKAGE_RELEASE ${release})
set(CPACK_RPM_PACKAGE_LICENSE MIT)
set(CPACK_RPM_PACKAGE_RELOCATABLE OFF)
set(CPACK_PACKAGE_RELOCATABLE OFF)
set(CPACK_RPM_PACKAGE_AUTOREQ ON)
set(CPACK_RPM_PACKAGE_AUTOPROV ON)
set(CPACK_RPM_COMPRESSION_TYPE xz)
# Nothing left to do after installation: stripped, compressed and dated already. Reproducible: the
# build's time and host are not told.
set(CPACK_RPM_SPEC_INSTALL_POST "/bin/true")
set(CPACK_RPM_SPEC_MORE_DEFINE
"%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define _buildhost localhost
%define _build_id_links none
Packager: ${CPACK_PACKAGE_CONTACT}")

string(TIMESTAMP date "%a %b %d %Y" UTC)  # of SOURCE_DATE_EPOCH
file(WRITE ${work}/changelog.rpm
"* ${date} ${CPACK_PACKAGE_CONTACT} - ${full_version}
- Machnet ${CPACK_PACKAGE_VERSION}.
")
set(CPACK_RPM_CHANGELOG_FILE ${work}/changelog.rpm)

# Folders that other packages own.
foreach(folder lib/debug lib/debug/.build-id lib/systemd lib/systemd/system lib/systemd/catalog
        lib/sysusers.d lib/tmpfiles.d sbin ${CPACK_MACHNET_LIBDIR} ${CPACK_MACHNET_LIBDIR}/cmake
        ${CPACK_MACHNET_LIBDIR}/pkgconfig ${CPACK_MACHNET_LIBDIR}/wireshark
        ${CPACK_MACHNET_LIBDIR}/wireshark/plugins share/bash-completion share/bash-completion/completions
        share/licenses share/man share/man/man1 share/man/man3 share/man/man5 share/man/man7
        share/man/man8)
  list(APPEND CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION /usr/${folder})
endforeach()

set(CPACK_RPM_PACKAGE_GROUP "System Environment/Daemons")
set(CPACK_RPM_runtime_PACKAGE_GROUP "System Environment/Libraries")
set(CPACK_RPM_devel_PACKAGE_GROUP "Development/Libraries")
set(CPACK_RPM_tools_PACKAGE_GROUP "Applications/System")
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  machnet_describe(${component})
  set(package ${CPACK_MACHNET_PACKAGE_${component}})
  set(CPACK_RPM_${component}_PACKAGE_NAME ${package})
  set(CPACK_RPM_${component}_PACKAGE_SUMMARY "${summary}")
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${description}")
  if(NOT component MATCHES "_debug$")
    set(CPACK_RPM_${component}_USER_FILELIST "%license /usr/share/licenses/${package}/LICENSE")
  endif()
endforeach()
foreach(component IN LISTS CPACK_MACHNET_DEBUG_COMPONENTS)
  set(CPACK_RPM_${component}_debug_PACKAGE_GROUP "Development/Debug")
  set(CPACK_RPM_${component}_debug_PACKAGE_REQUIRES
      "${CPACK_MACHNET_PACKAGE_${component}}%{?_isa} = ${full_version}")
  set(CPACK_RPM_${component}_debug_PACKAGE_AUTOREQ OFF)
  set(CPACK_RPM_${component}_debug_PACKAGE_AUTOPROV OFF)
endforeach()

# ---- machnet
set(CPACK_RPM_service_PACKAGE_REQUIRES "dpdk, driverctl, kmod, systemd")
set(CPACK_RPM_service_PACKAGE_REQUIRES_PRE shadow-utils)
foreach(when POST PREUN POSTUN)
  set(CPACK_RPM_service_PACKAGE_REQUIRES_${when} systemd)
endforeach()
list(APPEND CPACK_RPM_service_USER_FILELIST "%config(noreplace) /etc/machnet.conf")
set(CPACK_RPM_service_PRE_INSTALL_SCRIPT_FILE ${here}/rpm/machnet.pre)
set(CPACK_RPM_service_POST_INSTALL_SCRIPT_FILE ${here}/rpm/machnet.post)
set(CPACK_RPM_service_PRE_UNINSTALL_SCRIPT_FILE ${here}/rpm/machnet.preun)
set(CPACK_RPM_service_POST_UNINSTALL_SCRIPT_FILE ${here}/rpm/machnet.postun)

# ---- the others. The library's own name and version come from its soname.
set(CPACK_RPM_tools_PACKAGE_SUGGESTS wireshark-cli)
set(CPACK_RPM_devel_PACKAGE_REQUIRES "libmachnet%{?_isa} = ${full_version}")
