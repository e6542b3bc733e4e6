# SPDX-License-Identifier: MIT
# What is installed besides the programs and the library, which the folders that build them install:
# units, configuration, man pages, completion, documentation. A file that is listed here and is not
# there fails the installation, and with it the packages.
set(unitdir lib/systemd/system)  # systemd looks here below /usr and /usr/local, on every distribution
set(top ${PROJECT_SOURCE_DIR})

if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(confdir /etc)
else()
  set(confdir ${CMAKE_INSTALL_SYSCONFDIR})
endif()
install(TARGETS machnet_nic RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT service)

install(FILES ${top}/etc/machnet.conf DESTINATION ${confdir} COMPONENT service)

# mn_install_unit(FILE DESTINATION [NAME]): units name programs by their place; below another prefix than
# /usr they must name that one.
function(mn_install_unit file destination)
  set(name ${ARGN})
  if(NOT name)
    get_filename_component(name ${file} NAME)
  endif()
  set(source ${top}/systemd/${file})
  if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS ${source})
    set_property(DIRECTORY ${top} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(READ ${source} text)
    string(REPLACE "/usr/sbin/" "${CMAKE_INSTALL_FULL_SBINDIR}/" text "${text}")
    string(REPLACE "/usr/bin/" "${CMAKE_INSTALL_FULL_BINDIR}/" text "${text}")
    set(source ${PROJECT_BINARY_DIR}/packaging/${file})
    file(WRITE ${source}.new "${text}")
    file(COPY_FILE ${source}.new ${source} ONLY_IF_DIFFERENT)
  endif()
  install(FILES ${source} DESTINATION ${destination} RENAME ${name} COMPONENT service)
endfunction()
mn_install_unit(machnet.service ${unitdir})
mn_install_unit(machnet.socket ${unitdir})
mn_install_unit(sysusers.conf lib/sysusers.d machnet.conf)
mn_install_unit(tmpfiles.conf lib/tmpfiles.d machnet.conf)
mn_install_unit(machnet.catalog lib/systemd/catalog)

# ---- Man pages, compressed as both formats want them: as small as it gets and without a date.
file(GLOB pages CONFIGURE_DEPENDS ${top}/man/*.[1-8])
foreach(page IN LISTS pages)
  get_filename_component(name ${page} NAME)
  string(REGEX MATCH "[1-8]$" section ${name})
  set(component service)
  if(section EQUAL 3)
    set(component devel)
  elseif(name MATCHES "^(msg_gen|machnet-wireshark)\\.")
    set(component tools)
  endif()
  set(compressed ${PROJECT_BINARY_DIR}/man/${name}.gz)
  add_custom_command(OUTPUT ${compressed} DEPENDS ${page} VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/man
    COMMAND gzip -9nc ${page} > ${compressed})
  list(APPEND compressed_pages ${compressed})
  install(FILES ${compressed} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endforeach()
add_custom_target(mn_man ALL DEPENDS ${compressed_pages})

# Functions that share a page: a link for each of the others.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/man)
foreach(link IN LISTS MN_MAN_LINKS)
  string(REGEX MATCH "^(.+)=(.+)$" ignored ${link})
  set(alias ${PROJECT_BINARY_DIR}/man/${CMAKE_MATCH_1}.gz)
  file(CREATE_LINK ${CMAKE_MATCH_2}.gz ${alias} SYMBOLIC)
  install(FILES ${alias} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT devel)
endforeach()

# ---- Wireshark looks for dissectors in Lua here, on Debian and on Fedora, when the prefix is its own.
install(FILES ${top}/libmachnet/tools/machnet.lua COMPONENT tools
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/wireshark/plugins)

# ---- Completion: one file, found under the name of each program.
set(completions ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions)
foreach(component service tools)
  set(name_service machnetd)
  set(name_tools msg_gen)
  install(FILES ${top}/packaging/completion/machnet.bash DESTINATION ${completions}
          RENAME ${name_${component}} COMPONENT ${component})
endforeach()
foreach(program machnet-nic machnetctl)
  install(CODE "file(CREATE_LINK machnetd
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${completions}/${program}\" SYMBOLIC)" COMPONENT service)
endforeach()

# ---- Documentation
install(FILES ${top}/README.md DESTINATION ${MN_DOCDIR_service} COMPONENT service)
install(DIRECTORY ${top}/packaging/cloud DESTINATION ${MN_DOCDIR_service} COMPONENT service
        FILES_MATCHING PATTERN "*.md")
foreach(component IN LISTS MN_COMPONENTS)
  set(package ${MN_PACKAGE_${component}})
  if(MN_PACKAGE_FORMAT STREQUAL "rpm")
    install(FILES ${top}/LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/licenses/${package}
            COMPONENT ${component})
    continue()
  endif()
  install(FILES ${top}/packaging/deb/copyright DESTINATION ${MN_DOCDIR_${component}}
          COMPONENT ${component})
  if(EXISTS ${top}/packaging/deb/${package}.lintian-overrides)
    install(FILES ${top}/packaging/deb/${package}.lintian-overrides RENAME ${package}
            DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/lintian/overrides COMPONENT ${component})
  endif()
  # Dates and versions are those of the packages, known when they are made (see cpack_options.cmake);
  # an installation without packages has no changelog of packages.
  install(CODE "
    if(EXISTS \"\$ENV{MN_PACKAGE_CHANGELOG}\")
      file(INSTALL \"\$ENV{MN_PACKAGE_CHANGELOG}\"
           DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${MN_DOCDIR_${component}}\")
    endif()" COMPONENT ${component})
endforeach()

# ---- Debug symbols: packages of their own, and no part of an installation without packages.
set(debug_service machnetd machnet_nic machnetctl)
set(debug_runtime machnet)
set(debug_tools msg_gen)
foreach(component IN LISTS MN_DEBUG_COMPONENTS)
  set(doc "")
  if(MN_PACKAGE_FORMAT STREQUAL "deb")
    set(doc ${CMAKE_INSTALL_DATAROOTDIR}/doc/${MN_PACKAGE_${component}_debug})
  endif()
  foreach(target IN LISTS debug_${component})
    install(CODE "
      set(elf \"$<TARGET_FILE:${target}>\")
      set(doc \"${doc}\")
      set(doc_target \"${MN_PACKAGE_${component}}\")
      include(\"${top}/packaging/debug_symbols.cmake\")"
      COMPONENT ${component}_debug EXCLUDE_FROM_ALL)
  endforeach()
endforeach()
