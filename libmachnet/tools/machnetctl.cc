// SPDX-License-Identifier: MIT
// machnetctl: what the service on this host is doing: its NICs, the applications' channels, the
// counters. A client like any other: it asks over the control socket and reads the counters page.
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "ipc/control_protocol.h"
#include "ipc/shm_counters.h"
#include "libmachnet/control_client.h"
#include "libmachnet/tools/flags.h"
#include "libmachnet/tools/trace.h"

namespace {

using mn::client::ControlClient;
using mn::client::Descriptors;
namespace ipc = mn::ipc;

constexpr int kTimeoutMs = 2000;

struct CounterValue {
  const char* name;
  const char* help;
  uint64_t value;
};

struct Status {
  std::vector<ipc::NicInfo> nics;
  std::vector<ipc::ChannelStatus> channels;
  std::vector<std::vector<CounterValue>> counters;  // of each engine, in the order of the NICs
};

// Asks for item 0, 1, ... until there is no further one.
template <typename Item>
bool read_list(ControlClient* client, uint16_t type, Item ipc::ControlMessage::*item,
               std::vector<Item>* ret_items) {
  for (uint32_t i = 0;; i++) {
    ipc::ControlMessage message{};
    message.header.type = type;
    message.index.index = i;
    if (client->request(&message, kTimeoutMs) != 0) return errno == ENOENT;
    ret_items->push_back(message.*item);
  }
}

std::vector<CounterValue> values_of(const ipc::EngineCounters& engine) {
  std::vector<CounterValue> values;
#define MN_ADD(name, help) \
  values.push_back({#name, help, engine.name.load(std::memory_order_relaxed)});
  MN_COUNTERS(MN_ADD)
#undef MN_ADD
  return values;
}

bool read_counters(ControlClient* client, std::vector<std::vector<CounterValue>>* ret_counters) {
  ipc::ControlMessage message{};
  message.header.type = ipc::kControlCounters;
  Descriptors descriptors;
  if (client->request(&message, kTimeoutMs, &descriptors) != 0) return false;
  struct stat status;
  void* page = MAP_FAILED;
  errno = EPROTO;
  if (descriptors.count == 1 && fstat(descriptors.fd[0], &status) == 0 &&
      static_cast<size_t>(status.st_size) >= sizeof(ipc::CountersPage)) {
    page = mmap(nullptr, sizeof(ipc::CountersPage), PROT_READ, MAP_SHARED, descriptors.fd[0], 0);
  }
  descriptors.close_all();
  if (page == MAP_FAILED) return false;
  const auto* counters = static_cast<const ipc::CountersPage*>(page);
  const bool known =
      counters->magic == ipc::kCountersMagic && counters->version == ipc::kCountersVersion;
  for (uint32_t i = 0; known && i < counters->engine_count && i < ipc::kCounterEnginesMax; i++) {
    ret_counters->push_back(values_of(counters->engines[i]));
  }
  munmap(page, sizeof(ipc::CountersPage));
  return known;
}

std::string ipv4(uint32_t address) {
  char text[16];
  snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24, address >> 16 & 0xff,
           address >> 8 & 0xff, address & 0xff);
  return text;
}

std::string mac(const uint8_t (&bytes)[6]) {
  char text[18];
  snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2],
           bytes[3], bytes[4], bytes[5]);
  return text;
}

// Of a process that may be gone, or in another PID namespace. It chose its name itself, which must
// not move the cursor of whoever looks.
std::string command_of(int32_t pid) {
  char path[32];
  snprintf(path, sizeof(path), "/proc/%d/comm", pid);
  FILE* file = fopen(path, "re");
  if (file == nullptr) return "-";
  char name[32] = "";
  const bool got = fgets(name, sizeof(name), file) != nullptr;
  fclose(file);
  name[strcspn(name, "\n")] = '\0';
  for (char* c = name; *c != '\0'; c++) {
    if (*c < ' ' || *c > '~') *c = '?';
  }
  return got && name[0] != '\0' ? name : "-";
}

std::string user_of(uint32_t uid) {
  const passwd* entry = getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

// nullptr: nobody knows.
const char* link_of(const ipc::NicInfo& nic) {
  return nic.link == ipc::kLinkUp ? "up" : nic.link == ipc::kLinkDown ? "down" : nullptr;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      snprintf(escaped, sizeof(escaped), "\\u%04x", c);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

void print_json(const Status& status) {
  printf("{\"nics\":[");
  for (size_t i = 0; i < status.nics.size(); i++) {
    const ipc::NicInfo& nic = status.nics[i];
    printf(
        "%s{\"name\":%s,\"driver\":%s,\"address\":\"%s\",\"prefix_length\":%u,\"gateway\":%s,"
        "\"mtu\":%u,\"mac\":\"%s\",\"link\":%s,\"engines\":%u}",
        i == 0 ? "" : ",", quoted(nic.name).c_str(), quoted(nic.driver).c_str(),
        ipv4(nic.address).c_str(), nic.prefix_length,
        nic.gateway != 0 ? quoted(ipv4(nic.gateway)).c_str() : "null", nic.mtu,
        mac(nic.mac).c_str(), link_of(nic) != nullptr ? quoted(link_of(nic)).c_str() : "null",
        nic.engines);
  }
  printf("],\"channels\":[");
  for (size_t i = 0; i < status.channels.size(); i++) {
    const ipc::ChannelStatus& channel = status.channels[i];
    printf(
        "%s{\"pid\":%d,\"uid\":%u,\"command\":%s,\"flows\":%u,\"listeners\":%u,\"memory_"
        "bytes\":%llu}",
        i == 0 ? "" : ",", channel.pid, channel.uid, quoted(command_of(channel.pid)).c_str(),
        channel.flows, channel.listeners, static_cast<unsigned long long>(channel.memory_size));
  }
  printf("],\"counters\":[");
  for (size_t i = 0; i < status.counters.size(); i++) {
    printf("%s{", i == 0 ? "" : ",");
    const char* separator = "";
    for (const CounterValue& counter : status.counters[i]) {
      printf("%s\"%s\":%llu", separator, counter.name,
             static_cast<unsigned long long>(counter.value));
      separator = ",";
    }
    printf("}");
  }
  printf("]}\n");
}

// As the counters are told apart: "eth1", or "eth1, engine 2 of 4".
std::string engine_name(const Status& status, size_t engine) {
  for (const ipc::NicInfo& nic : status.nics) {
    const size_t engines = nic.engines == 0 ? 1 : nic.engines;
    if (engine >= engines) {
      engine -= engines;
      continue;
    }
    if (engines == 1) return nic.name;
    return std::string(nic.name) + ", engine " + std::to_string(engine + 1) + " of " +
           std::to_string(engines);
  }
  return "an engine";
}

void print_plain(const Status& status, bool all_counters) {
  printf("%-16s %-18s %-15s %5s  %-17s  %-4s  %s\n", "NIC", "ADDRESS", "GATEWAY", "MTU", "MAC",
         "LINK", "DRIVER");
  for (const ipc::NicInfo& nic : status.nics) {
    printf("%-16s %-18s %-15s %5u  %-17s  %-4s  %s\n", nic.name,
           (ipv4(nic.address) + "/" + std::to_string(nic.prefix_length)).c_str(),
           nic.gateway != 0 ? ipv4(nic.gateway).c_str() : "-", nic.mtu, mac(nic.mac).c_str(),
           link_of(nic) != nullptr ? link_of(nic) : "-", nic.driver);
  }
  printf("\n%zu channel%s\n", status.channels.size(), status.channels.size() == 1 ? "" : "s");
  if (!status.channels.empty()) {
    printf("%8s  %-16s %-12s %12s %10s %12s\n", "PID", "COMMAND", "USER", "FLOWS", "LISTENERS",
           "MEMORY");
  }
  for (const ipc::ChannelStatus& channel : status.channels) {
    printf("%8d  %-16s %-12s %12u %10u %8llu KiB\n", channel.pid, command_of(channel.pid).c_str(),
           user_of(channel.uid).c_str(), channel.flows, channel.listeners,
           static_cast<unsigned long long>(channel.memory_size / 1024));
  }
  for (size_t i = 0; i < status.counters.size(); i++) {
    printf("\nCounters of %s%s\n", engine_name(status, i).c_str(),
           all_counters ? "" : " (those that are not 0)");
    for (const CounterValue& counter : status.counters[i]) {
      if (counter.value == 0 && !all_counters) continue;
      printf("%20llu  %-22s %s\n", static_cast<unsigned long long>(counter.value), counter.name,
             counter.help);
    }
  }
}

// What could not be had, nullptr: nothing; the reason is in errno.
const char* read_once(Status* ret_status) {
  ControlClient client;
  if (client.open() != 0) return "no service answers";
  const char* missing =
      !read_list(&client, ipc::kControlNicInfo, &ipc::ControlMessage::nic, &ret_status->nics)
          ? "NICs"
      : !read_list(&client, ipc::kControlChannelInfo, &ipc::ControlMessage::channel_status,
                   &ret_status->channels)
          ? "channels"
      : !read_counters(&client, &ret_status->counters) ? "counters"
                                                       : nullptr;
  const int error = errno;
  client.close();
  errno = error;
  return missing;
}

bool read_status(Status* ret_status) {
  const char* missing = read_once(ret_status);
  // The service that took us was about to end. If it is being restarted the next one answers, on
  // the same socket; once: a service that ends again and again is news.
  if (missing != nullptr && (errno == ESHUTDOWN || errno == ECONNRESET)) {
    *ret_status = {};
    missing = read_once(ret_status);
  }
  if (missing == nullptr) return true;
  const int error = errno;
  fprintf(stderr, "machnetctl: %s: %s%s\n", missing, strerror(error),
          error == ENOENT || error == ECONNREFUSED
              ? "; is machnetd running? (systemctl start machnet)"
          : error == EACCES ? "; be root or in the service's socket_group"
                            : "");
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::string socket;
  bool json = false, all = false, version = false, help = false;
  mn::tools::FlagSet flags;
  flags.add_text("socket", &socket, "the service's socket, if not the usual one");
  flags.add_switch("json", &json,
                   "print JSON, every counter included; trace: an object for each line");
  flags.add_switch("all", &all, "print the counters that are 0, too; trace: every flow");
  flags.add_switch("version", &version, "print the version");
  flags.add_switch("help", &help, "print this");
  mn::tools::TraceOptions trace;
  std::string print;
  flags.add_text("nic", &trace.nic, "trace: of this NIC, if not of the first");
  flags.add_text("local", &trace.local, "trace: flows of this ADDRESS, ADDRESS:PORT or :PORT");
  flags.add_text("remote", &trace.remote, "trace: flows to this ADDRESS, ADDRESS:PORT or :PORT");
  flags.add_seconds("seconds", &trace.seconds, "trace: for so long; else until Ctrl-C");
  flags.add_text("output", &trace.output, "trace: into this file");
  flags.add_text("print", &print, "trace: show this file");
  const bool is_trace = argc > 1 && strcmp(argv[1], "trace") == 0;
  if (is_trace || (argc > 1 && strcmp(argv[1], "status") == 0)) {
    argv[1] = argv[0];
    argv++;
    argc--;
  }
  const std::string error = flags.parse(argc, argv);
  if (!error.empty()) {
    fprintf(stderr, "machnetctl: %s\n", error.c_str());
    return 2;
  }
  if (help) {
    printf(
        "usage: machnetctl [status] [--socket PATH] [--json] [--all]\n"
        "       machnetctl trace --all|--local ENDPOINT|--remote ENDPOINT [--nic NAME] [--seconds "
        "N]\n"
        "                  [--socket PATH] --output FILE\n"
        "       machnetctl trace --print FILE [--json]\n");
    flags.print_help(stdout);
    return 0;
  }
  if (version) {
    puts("machnetctl " MN_VERSION);
    return 0;
  }
  if (!socket.empty()) setenv(ipc::kSocketEnvironment, socket.c_str(), 1);
  if (is_trace) {
    if (!print.empty()) return mn::tools::trace_print(print, json);
    trace.all = all;
    if (trace.output.empty()) {
      fprintf(stderr, "machnetctl: trace needs --output FILE, or --print FILE\n");
      return 2;
    }
    return mn::tools::trace_record(trace);
  }
  Status status;
  if (!read_status(&status)) return 1;
  if (json) {
    print_json(status);
  } else {
    print_plain(status, all);
  }
  return 0;
}
