// SPDX-License-Identifier: MIT
// The trace: what happens to flows, event by event, as fixed-size records. A transport appends them
// to a ring (one writer, which never waits: the oldest are overwritten), machnetd lends the ring to
// who asked for it, read-only, and a file is a TraceFileHeader and records. The simulators write
// the same files. Nothing here allocates, blocks or tells the time.
#pragma once

#include <stdint.h>

#include <atomic>

namespace mn::ipc {

constexpr uint32_t kTraceMagic = 0x4d4e5452;  // "MNTR"
constexpr uint16_t kTraceVersion = 1;

// name, what happened, what `value` and `detail` say; `peer` marks what is in packets received.
#define MN_TRACE_KINDS(X)                                                                      \
  X(kTraceFlow, "flow", "names a flow: seq and ack are the addresses, value the ports")        \
  X(kTraceState, "state", "detail: the state; value: the reason of an end")                    \
  X(kTraceSent, "sent", "a packet left; detail: its type; value: payload bytes")               \
  X(kTraceReceived, "received", "a packet came; detail: its type; value: payload bytes")       \
  X(kTraceResent, "resent", "a data packet leaves again; detail: how often it was sent")       \
  X(kTraceLost, "lost", "a packet was judged lost; value: us since it was sent")               \
  X(kTraceAcked, "acked", "packets were acknowledged; value: how many")                        \
  X(kTraceRtt, "rtt", "a round trip was measured; value: ns")                                  \
  X(kTraceLimit, "limit", "the peer's window changed; value: packets it now takes")            \
  X(kTraceArmed, "armed", "the loss timer was set; detail: its kind; value: us from now")      \
  X(kTraceFired, "fired", "the loss timer fired; detail: its kind")                            \
  X(kTraceQueued, "queued", "a segment to send; detail: 1 if it ends a message; value: bytes") \
  X(kTraceDelivered, "delivered", "a segment or bundle to the application; value: bytes")      \
  X(kTraceStarved, "starved", "detail: 1 the application's buffers are full, 0 no longer")

enum TraceKind : uint8_t {
#define MN_TRACE_KIND(name, word, help) name,
  MN_TRACE_KINDS(MN_TRACE_KIND)
#undef MN_TRACE_KIND
      kTraceKinds
};

// What stands in every record: the flow as it is when the event has been dealt with.
struct TraceRecord {
  int64_t time_ns = 0;     // of the poll: the engine's clock
  uint32_t flow = 0;       // unique among the flows of one engine that live at one time
  uint32_t seq = 0;        // of the packet; without one, of the next new packet
  uint32_t ack = 0;        // of the packet; without one, the next expected from the peer
  uint32_t value = 0;      // by kind
  uint16_t in_flight = 0;  // packets
  uint16_t window = 0;     // of the packet; without one, the congestion window, packets
  uint8_t kind = 0;        // TraceKind
  uint8_t detail = 0;      // by kind
  uint16_t engine = 0;
};
static_assert(sizeof(TraceRecord) == 32);
constexpr uint32_t kTraceWords = sizeof(TraceRecord) / sizeof(uint64_t);

// The ring in memory: `capacity` (a power of two) slots after this header.
struct TraceRing {
  uint32_t magic;
  uint16_t version;
  uint16_t record_size;
  uint32_t capacity;
  uint32_t reserved;
  // Records written so far; the newest is in slot (position - 1) % capacity. The writer's.
  alignas(64) std::atomic<uint64_t> position;
  alignas(64) std::atomic<uint64_t> words[1];  // kTraceWords for each slot

  static uint64_t size_for(uint32_t capacity) {
    return sizeof(TraceRing) + uint64_t{capacity} * sizeof(TraceRecord);
  }
};

inline void trace_append(TraceRing* ring, uint32_t capacity, const TraceRecord& record) {
  const uint64_t at = ring->position.load(std::memory_order_relaxed);
  uint64_t words[kTraceWords];
  __builtin_memcpy(words, &record, sizeof(record));
  // A reader that has seen any of the words below sees that the record before was finished: then it
  // knows that this slot is being overwritten (pairs with the fence in trace_read).
  std::atomic_thread_fence(std::memory_order_release);
  std::atomic<uint64_t>* slot = &ring->words[(at & (capacity - 1)) * kTraceWords];
  for (uint32_t i = 0; i < kTraceWords; i++) slot[i].store(words[i], std::memory_order_relaxed);
  ring->position.store(at + 1, std::memory_order_release);  // pairs with the loads in trace_read
}

// Copies up to `count_max` records from *next on, and moves it on; *ret_lost: how many were
// overwritten before they could be read. `capacity` is what the reader knows from the mapping's
// size.
inline uint32_t trace_read(const TraceRing* ring, uint32_t capacity, uint64_t* next,
                           TraceRecord* ret_records, uint32_t count_max, uint64_t* ret_lost) {
  *ret_lost = 0;
  const uint64_t end = ring->position.load(std::memory_order_acquire);
  if (end - *next > capacity - 1) {  // one slot may be half written
    *ret_lost = end - (capacity - 1) - *next;
    *next += *ret_lost;
  }
  uint64_t count = end - *next;
  if (count > count_max) count = count_max;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t words[kTraceWords];
    const std::atomic<uint64_t>* slot = &ring->words[((*next + i) & (capacity - 1)) * kTraceWords];
    for (uint32_t w = 0; w < kTraceWords; w++) words[w] = slot[w].load(std::memory_order_relaxed);
    __builtin_memcpy(&ret_records[i], words, sizeof(TraceRecord));
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  // What the writer has come round to meanwhile is no record any more.
  const uint64_t now = ring->position.load(std::memory_order_relaxed);
  uint64_t bad = 0;
  if (now - *next > capacity - 1) bad = now - (capacity - 1) - *next;
  if (bad > count) bad = count;
  if (bad > 0) {
    for (uint64_t i = bad; i < count; i++) ret_records[i - bad] = ret_records[i];
  }
  *ret_lost += bad;
  *next += count;
  return static_cast<uint32_t>(count - bad);
}

struct TraceFileHeader {
  uint32_t magic;  // kTraceMagic
  uint16_t version;
  uint16_t record_size;
  int64_t wall_clock_ns;  // when time_ns was clock_ns, both in ns; 0: simulated time
  int64_t clock_ns;
  uint64_t lost;  // records that were overwritten before they could be read
};
static_assert(sizeof(TraceFileHeader) == 32);

}  // namespace mn::ipc
