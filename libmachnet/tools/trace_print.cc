// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <utility>

#include "ipc/trace.h"
#include "libmachnet/tools/trace.h"

namespace mn::tools {

namespace {

constexpr const char* kKinds[] = {
#define MN_TRACE_WORD(name, word, help) word,
    MN_TRACE_KINDS(MN_TRACE_WORD)
#undef MN_TRACE_WORD
};
constexpr const char* kPackets[] = {"?",     "open",  "open_ack", "data", "ack",
                                    "close", "reset", "probe",    "part"};
constexpr const char* kStates[] = {"free", "opening", "half_open", "established", "dead"};
constexpr const char* kTimers[] = {"none",       "reorder", "tail_probe",
                                   "retransmit", "persist", "handshake"};

template <size_t kCount>
const char* word_of(const char* const (&words)[kCount], uint8_t index) {
  return index < kCount ? words[index] : "?";
}

// What `detail` says in a record of this kind, as a word; nullptr: it is a number.
const char* detail_of(const ipc::TraceRecord& r) {
  switch (r.kind) {
    case ipc::kTraceSent:
    case ipc::kTraceReceived:
      return word_of(kPackets, r.detail);
    case ipc::kTraceFlow:
    case ipc::kTraceState:
      return word_of(kStates, r.detail);
    case ipc::kTraceArmed:
    case ipc::kTraceFired:
      return word_of(kTimers, r.detail);
    default:
      return nullptr;
  }
}

std::string endpoint(uint32_t ip, uint32_t port) {
  char text[32];
  snprintf(text, sizeof(text), "%u.%u.%u.%u:%u", ip >> 24, ip >> 16 & 0xff, ip >> 8 & 0xff,
           ip & 0xff, port & 0xffff);
  return text;
}

class Printer {
 public:
  Printer(const ipc::TraceFileHeader& header, bool json) : header_(header), json_(json) {}

  void print(const ipc::TraceRecord& r) {
    if (first_ns_ == INT64_MIN) first_ns_ = r.time_ns;
    std::string& name = names_[{r.engine, r.flow}];
    if (r.kind == ipc::kTraceFlow) {
      name = endpoint(r.seq, r.value >> 16) + "-" + endpoint(r.ack, r.value);
      if (!json_) return;  // it stands in the lines that follow
    }
    char detail[32];
    const char* word = detail_of(r);
    if (json_) {
      snprintf(detail, sizeof(detail), word != nullptr ? "\"%s\"" : "%s",
               word != nullptr ? word : std::to_string(r.detail).c_str());
      printf("{\"time_ns\":%" PRId64 ",", r.time_ns);
      if (header_.wall_clock_ns != 0) {
        printf("\"wall_ns\":%" PRId64 ",", r.time_ns - header_.clock_ns + header_.wall_clock_ns);
      }
      printf(
          "\"engine\":%u,\"flow\":%u,\"name\":\"%s\",\"kind\":\"%s\",\"detail\":%s,\"seq\":%u,"
          "\"ack\":%u,\"window\":%u,\"in_flight\":%u,\"value\":%u}\n",
          r.engine, r.flow, name.c_str(), word_of(kKinds, r.kind), detail, r.seq, r.ack, r.window,
          r.in_flight, r.value);
      return;
    }
    snprintf(detail, sizeof(detail), "%s",
             word != nullptr ? word : std::to_string(r.detail).c_str());
    const int64_t ns = r.time_ns - first_ns_;
    printf("%6" PRId64 ".%09" PRId64
           " %u %s %-9s %-11s seq %u ack %u window %u in_flight %u value %u\n",
           ns / 1'000'000'000, ns % 1'000'000'000, r.engine,
           name.empty() ? std::to_string(r.flow).c_str() : name.c_str(), word_of(kKinds, r.kind),
           detail, r.seq, r.ack, r.window, r.in_flight, r.value);
  }

 private:
  const ipc::TraceFileHeader header_;
  const bool json_;
  int64_t first_ns_ = INT64_MIN;
  std::map<std::pair<uint16_t, uint32_t>, std::string> names_;
};

}  // namespace

int trace_print(const std::string& path, bool json) {
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) {
    fprintf(stderr, "machnetctl: %s: %s\n", path.c_str(), strerror(errno));
    return 1;
  }
  ipc::TraceFileHeader header{};
  if (fread(&header, sizeof(header), 1, file) != 1 || header.magic != ipc::kTraceMagic ||
      header.version != ipc::kTraceVersion || header.record_size != sizeof(ipc::TraceRecord)) {
    fprintf(stderr, "machnetctl: %s is no trace of this version\n", path.c_str());
    fclose(file);
    return 1;
  }
  Printer printer(header, json);
  ipc::TraceRecord record;
  while (fread(&record, sizeof(record), 1, file) == 1) printer.print(record);
  fclose(file);
  if (header.lost != 0) {
    fprintf(stderr,
            "machnetctl: %" PRIu64 " records are missing: they came faster than they were read\n",
            header.lost);
  }
  return ferror(stdout) != 0 ? 1 : 0;
}

}  // namespace mn::tools
