// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
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

// What one engine of the NIC writes; the service lends it to a session of its own.
struct Source {
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source() {
    if (ring != nullptr) munmap(const_cast<ipc::TraceRing*>(ring), size());
    client.close();
  }
  uint64_t size() const { return ipc::TraceRing::size_for(info.capacity); }

  ControlClient client;
  ipc::TraceInfo info{};
  const ipc::TraceRing* ring = nullptr;
  uint64_t next = 0;
};
using Sources = std::vector<std::unique_ptr<Source>>;

// The engines of the NIC with this name, of those that the service has.
bool find_nic(ControlClient* client, const std::string& name, uint32_t* ret_first,
              uint32_t* ret_count) {
  *ret_first = 0;
  for (uint32_t i = 0;; i++) {
    ipc::ControlMessage message{};
    message.header.type = ipc::kControlNicInfo;
    message.index.index = i;
    if (client->request(&message, kTimeoutMs) != 0) return false;
    *ret_count = std::max<uint32_t>(message.nic.engines, 1);
    if (name.empty() || name == message.nic.name) return true;
    *ret_first += *ret_count;
  }
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// From the rings to the file, until it is time. False: the file cannot take it. What several
// engines wrote is put in order as far as it was there at one look.
bool copy_records(const Sources& sources, double seconds, FILE* file, uint64_t* ret_count,
                  uint64_t* ret_lost) {
  std::vector<ipc::TraceRecord> records(kReadAtOnce * sources.size());
  const int64_t end = seconds > 0 ? now_ns() + static_cast<int64_t>(seconds * 1e9) : INT64_MAX;
  uint32_t capacity = 0;
  for (const auto& source : sources) capacity = std::max(capacity, source->info.capacity);
  const uint64_t looks_max = capacity / kReadAtOnce + 1;
  for (bool last = false; !last;) {
    last = stopped != 0 || now_ns() >= end || sources.front()->client.poll_alive() != 0;
    // Until the rings are empty; when it is time, what they hold: busy engines write as fast.
    bool more = true;
    for (uint64_t looks = 0; more && looks < looks_max;) {
      more = false;
      size_t count = 0;
      for (const auto& source : sources) {
        uint64_t lost = 0;
        const uint32_t read = ipc::trace_read(source->ring, source->info.capacity, &source->next,
                                              records.data() + count, kReadAtOnce, &lost);
        *ret_lost += lost;
        count += read;
        more = more || read == kReadAtOnce;  // else a busy service kept us here
      }
      if (sources.size() > 1) {
        std::stable_sort(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(count),
                         [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
      }
      *ret_count += count;
      if (fwrite(records.data(), sizeof(records[0]), count, file) != count) return false;
      last = last || stopped != 0 || now_ns() >= end;
      looks += last;
    }
    const timespec pause{0, kReadEveryNs};
    if (!last) nanosleep(&pause, nullptr);
  }
  return true;
}

int record(const TraceOptions& options, const Sources& sources) {
  FILE* file = fopen(options.output.c_str(), "we");
  if (file == nullptr) return failed(options.output.c_str(), strerror(errno));
  ipc::TraceFileHeader header{.magic = ipc::kTraceMagic,
                              .version = ipc::kTraceVersion,
                              .record_size = sizeof(ipc::TraceRecord),
                              .wall_clock_ns = sources.front()->info.wall_clock_ns,
                              .clock_ns = sources.front()->info.clock_ns,
                              .lost = 0};
  uint64_t count = 0;
  const bool written = fwrite(&header, sizeof(header), 1, file) == 1 &&
                       copy_records(sources, options.seconds, file, &count, &header.lost) &&
                       fseek(file, 0, SEEK_SET) == 0 &&
                       fwrite(&header, sizeof(header), 1, file) == 1;
  const int error = errno;
  if (fclose(file) != 0 || !written) return failed(options.output.c_str(), strerror(error));
  printf("%" PRIu64 " records, %" PRIu64 " lost\n", count, header.lost);
  return 0;
}

// What could not be had, nullptr: nothing; *ret_why then says why.
const char* begin(const ipc::TraceRequest& request, Source* source, std::string* ret_why) {
  ipc::ControlMessage message{};
  message.header.type = ipc::kControlTrace;
  message.trace = request;
  Descriptors descriptors;
  if (source->client.open() != 0) {
    *ret_why = strerror(errno);
    return "no service answers";
  }
  if (source->client.request(&message, kTimeoutMs, &descriptors) != 0) {
    *ret_why = message.reason[0] != '\0' ? message.reason : strerror(errno);
    return "trace refused";
  }
  source->info = message.trace_info;
  const uint32_t capacity = source->info.capacity;
  struct stat status {};
  void* mapping = MAP_FAILED;
  if (descriptors.count == 1 && fstat(descriptors.fd[0], &status) == 0 && capacity != 0 &&
      (capacity & (capacity - 1)) == 0 && static_cast<uint64_t>(status.st_size) >= source->size()) {
    mapping = mmap(nullptr, source->size(), PROT_READ, MAP_SHARED, descriptors.fd[0], 0);
  }
  descriptors.close_all();
  if (mapping == MAP_FAILED) {
    *ret_why = "cannot be mapped";
    return "the service's trace";
  }
  source->ring = static_cast<const ipc::TraceRing*>(mapping);
  return nullptr;
}

}  // namespace

int trace_record(const TraceOptions& options) {
  ipc::TraceRequest request{};
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
  uint32_t count = 0;
  const bool is_there = find_nic(&client, options.nic, &request.engine, &count);
  client.close();
  if (!is_there) {
    return failed(options.nic.c_str(), "the service has no such NIC; see machnetctl status");
  }
  Sources sources;
  for (uint32_t i = 0; i < count; i++, request.engine++) {
    sources.push_back(std::make_unique<Source>());
    std::string why;
    if (const char* missing = begin(request, sources.back().get(), &why)) {
      return failed(missing, why.c_str());
    }
  }
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  return record(options, sources);
}

}  // namespace mn::tools
