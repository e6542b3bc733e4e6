// SPDX-License-Identifier: MIT
#include "sim/flow_trace.h"

#include <memory>
#include <new>

namespace mn::test {

namespace {
std::unique_ptr<FlowTrace> current_trace;
}  // namespace

bool FlowTrace::open(const char* path) {
  FILE* file = fopen(path, "we");
  if (file == nullptr) return false;
  auto trace = std::make_unique<FlowTrace>();
  // One cache line more: the ring wants to begin at one.
  trace->memory_.resize((ipc::TraceRing::size_for(kCapacity) + 64) / sizeof(uint64_t));
  void* at = trace->memory_.data();
  size_t room = trace->memory_.size() * sizeof(uint64_t);
  at = std::align(64, ipc::TraceRing::size_for(kCapacity), at, room);
  trace->ring_ = static_cast<ipc::TraceRing*>(at);
  trace->file_ = file;
  const ipc::TraceFileHeader header{.magic = ipc::kTraceMagic,
                                    .version = ipc::kTraceVersion,
                                    .record_size = sizeof(ipc::TraceRecord),
                                    .wall_clock_ns = 0,
                                    .clock_ns = 0,
                                    .lost = 0};
  fwrite(&header, sizeof(header), 1, file);
  current_trace = std::move(trace);
  return true;
}

FlowTrace* FlowTrace::current() { return current_trace.get(); }

void FlowTrace::save() {
  ipc::TraceRecord records[256];
  uint64_t lost = 0;
  for (uint32_t count = 256; count == 256;) {
    count = trace_read(ring_, kCapacity, &next_, records, 256, &lost);
    lost_ += lost;
    fwrite(records, sizeof(records[0]), count, file_);
  }
  fflush(file_);  // the run may end in an assertion
}

void FlowTrace::close() {
  if (current_trace == nullptr) return;
  current_trace->save();
  if (fclose(current_trace->file_) != 0 || current_trace->lost_ > 0) {
    fprintf(stderr, "the trace is not whole\n");
  }
  current_trace.reset();
}

}  // namespace mn::test
