# SPDX-License-Identifier: MIT
# Runs before each package is written: every file gets the date of the release, so that the packages do
# not tell when their sources were unpacked or built.
execute_process(COMMAND find ${CPACK_TEMPORARY_INSTALL_DIRECTORY} -exec
                touch --no-dereference --date=@$ENV{SOURCE_DATE_EPOCH} {} +
                COMMAND_ERROR_IS_FATAL ANY)
