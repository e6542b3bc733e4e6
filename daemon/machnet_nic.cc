// SPDX-License-Identifier: MIT
// machnet-nic: takes NICs for machnetd and gives them back; run as root, by the unit's privileged
// steps and by hand. Wires the device folder to the log and to the metadata services; decides
// nothing.
#include <signal.h>

#include <string>
#include <vector>

#include "base/log.h"
#include "device/metadata.h"
#include "device/nic_command.h"

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  mn::device::NicProgram program;
  program.version = MN_VERSION;
  program.say = [](mn::LogLevel level, const mn::LogEvent& about, const std::string& line) {
    mn::log_event(level, about, "%s", line.c_str());
  };
  program.metadata = mn::device::ask_metadata;
  return mn::device::nic_command(std::vector<std::string>(argv + 1, argv + argc), program);
}
