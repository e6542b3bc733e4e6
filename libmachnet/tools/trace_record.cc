// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ipc/control_protocol.h"
#include "ipc/trace.h"
#include "libmachnet/control_client.h"
#include "libmachnet/tools/trace.h"

namespace mn::tools {

namespace {

using client::ControlClient;
using client::Descriptors;

constexpr int kTimeoutMs = 2000;
constexpr long kReadEveryNs = 1'000'000;  // the ring holds many of these
constexpr uint32_t kReadAtOnce = 4096;

volatile sig_atomic_t stopped = 0;
void on_signal(int) { stopped = 1; }

int failed(const char* what, const char* why) {
  fprintf(stderr, "machnetctl: %s: %s\n", what, why);
  return 1;
}

// ADDRESS, ADDRESS:PORT, :PORT. False: none of these.
bool parse_endpoint(const std::string& text, uint32_t* ret_ip, uint16_t* ret_port) {
  const size_t colon = text.find(':');
  const std::string address = text.substr(0, colon);
  in_addr ip{};
  if (!address.empty() && inet_pton(AF_INET, address.c_str(), &ip) != 1) return false;
  unsigned long port = 0;
  if (colon != std::string::npos) {
    char* end = nullptr;
    port = strtoul(text.c_str() + colon + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX) return false;
  }
  *ret_ip = ntohl(ip.s_addr);
  *ret_port = static_cast<uint16_t>(port);
  return true;
}

// The engine of the NIC with this name.
bool find_nic(ControlClient* client, const std::string& name, uint32_t* ret_index) {
  for (uint32_t i = 0;; i++) {
    ipc::ControlMessage message{};
    message.header.type = ipc::kControlNicInfo;
    message.index.index = i;
    if (client->request(&message, kTimeoutMs) != 0) return false;
    if (name.empty() || name == message.nic.name) {
      *ret_index = i;
      return true;
    }
  }
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// From the ring to the file, until it is time. False: the file cannot take it.
bool copy_records(ControlClient* client, const ipc::TraceRing* ring, uint32_t capacity,
                  double seconds, FILE* file, uint64_t* ret_count, uint64_t* ret_lost) {
  std::vector<ipc::TraceRecord> records(kReadAtOnce);
  const int64_t end = seconds > 0 ? now_ns() + static_cast<int64_t>(seconds * 1e9) : INT64_MAX;
  uint64_t next = 0;
  for (bool last = false; !last;) {
    last = stopped != 0 || now_ns() >= end || client->poll_alive() != 0;
    for (uint32_t count = kReadAtOnce; count == kReadAtOnce;) {  // else a busy service kept us here
      uint64_t lost = 0;
      count = ipc::trace_read(ring, capacity, &next, records.data(), kReadAtOnce, &lost);
      *ret_lost += lost;
      *ret_count += count;
      if (fwrite(records.data(), sizeof(records[0]), count, file) != count) return false;
    }
    const timespec pause{0, kReadEveryNs};
    if (!last) nanosleep(&pause, nullptr);
  }
  return true;
}

int record(ControlClient* client, const TraceOptions& options, const ipc::TraceInfo& info,
           const ipc::TraceRing* ring) {
  FILE* file = fopen(options.output.c_str(), "we");
  if (file == nullptr) return failed(options.output.c_str(), strerror(errno));
  ipc::TraceFileHeader header{.magic = ipc::kTraceMagic,
                              .version = ipc::kTraceVersion,
                              .record_size = sizeof(ipc::TraceRecord),
                              .wall_clock_ns = info.wall_clock_ns,
                              .clock_ns = info.clock_ns,
                              .lost = 0};
  uint64_t count = 0;
  const bool written =
      fwrite(&header, sizeof(header), 1, file) == 1 &&
      copy_records(client, ring, info.capacity, options.seconds, file, &count, &header.lost) &&
      fseek(file, 0, SEEK_SET) == 0 && fwrite(&header, sizeof(header), 1, file) == 1;
  const int error = errno;
  if (fclose(file) != 0 || !written) return failed(options.output.c_str(), strerror(error));
  printf("%" PRIu64 " records, %" PRIu64 " lost\n", count, header.lost);
  return 0;
}

}  // namespace

int trace_record(const TraceOptions& options) {
  ipc::ControlMessage message{};
  message.header.type = ipc::kControlTrace;
  ipc::TraceRequest& request = message.trace;
  if (!parse_endpoint(options.local, &request.local_ip, &request.local_port) ||
      !parse_endpoint(options.remote, &request.remote_ip, &request.remote_port)) {
    fprintf(stderr, "machnetctl: --local and --remote take ADDRESS, ADDRESS:PORT or :PORT\n");
    return 2;
  }
  if (options.all != (options.local.empty() && options.remote.empty())) {
    fprintf(stderr, "machnetctl: trace which flows? Say --all, or --local, --remote or both\n");
    return 2;
  }
  ControlClient client;
  if (client.open() != 0) return failed("no service answers", strerror(errno));
  if (!find_nic(&client, options.nic, &request.engine)) {
    return failed(options.nic.c_str(), "the service has no such NIC; see machnetctl status");
  }
  Descriptors descriptors;
  if (client.request(&message, kTimeoutMs, &descriptors) != 0) {
    return failed("trace refused", message.reason[0] != '\0' ? message.reason : strerror(errno));
  }
  const ipc::TraceInfo info = message.trace_info;
  struct stat status {};
  const uint64_t size = ipc::TraceRing::size_for(info.capacity);
  void* mapping = MAP_FAILED;
  if (descriptors.count == 1 && fstat(descriptors.fd[0], &status) == 0 && info.capacity != 0 &&
      (info.capacity & (info.capacity - 1)) == 0 && static_cast<uint64_t>(status.st_size) >= size) {
    mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptors.fd[0], 0);
  }
  descriptors.close_all();
  if (mapping == MAP_FAILED) return failed("the service's trace", "cannot be mapped");
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  const int code = record(&client, options, info, static_cast<const ipc::TraceRing*>(mapping));
  munmap(mapping, size);
  client.close();
  return code;
}

}  // namespace mn::tools
