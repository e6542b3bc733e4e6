# SPDX-License-Identifier: MIT
# The rpm packages, under Fedora's names; see cpack_options.cmake.
set(full_version ${machnet_version}-${machnet_release})
set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_MAIN_COMPONENT service)
set(CPACK_RPM_PACKAGE_RELEASE ${machnet_release})
set(CPACK_RPM_PACKAGE_LICENSE MIT)
set(CPACK_RPM_PACKAGE_GROUP Unspecified)
set(CPACK_RPM_PACKAGE_RELOCATABLE OFF)
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
%define _build_id_links none")

string(TIMESTAMP date "%a %b %d %Y" UTC)  # of SOURCE_DATE_EPOCH
file(WRITE ${work}/changelog.rpm
"* ${date} ${CPACK_PACKAGE_CONTACT} - ${full_version}
- Machnet ${machnet_version}.
")
set(CPACK_RPM_CHANGELOG_FILE ${work}/changelog.rpm)

# Folders that other packages own.
foreach(folder lib/debug lib/debug/.build-id lib/systemd lib/systemd/system lib/systemd/catalog
        lib/sysusers.d lib/tmpfiles.d sbin ${CPACK_MACHNET_LIBDIR} ${CPACK_MACHNET_LIBDIR}/cmake
        ${CPACK_MACHNET_LIBDIR}/pkgconfig share/bash-completion share/bash-completion/completions
        share/licenses share/man share/man/man1 share/man/man3 share/man/man5 share/man/man7
        share/man/man8)
  list(APPEND CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION /usr/${folder})
endforeach()

set(CPACK_MACHNET_PACKAGE_debuginfo machnet-debuginfo)
foreach(component service runtime devel tools debuginfo)
  string(TOUPPER ${component} upper)
  machnet_describe(${component})
  set(CPACK_RPM_${component}_PACKAGE_NAME ${CPACK_MACHNET_PACKAGE_${component}})
  set(CPACK_RPM_${component}_PACKAGE_SUMMARY "${summary}")
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${description}")
  set(CPACK_RPM_${component}_USER_FILELIST
      "%license /usr/share/licenses/${CPACK_MACHNET_PACKAGE_${component}}/LICENSE")
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
set(CPACK_RPM_devel_PACKAGE_REQUIRES "libmachnet = ${full_version}")
set(CPACK_RPM_debuginfo_PACKAGE_AUTOREQ OFF)
set(CPACK_RPM_debuginfo_PACKAGE_AUTOPROV OFF)
unset(CPACK_RPM_debuginfo_USER_FILELIST)
