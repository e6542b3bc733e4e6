// SPDX-License-Identifier: MIT
// Single-producer single-consumer rings in memory shared by two processes that do not trust each
// other, and the sleep/wake word. ALL inter-process atomics of the project are in this file.
//
// A ring has no positions in shared memory. Each entry carries a phase bit (as NVMe completion
// queues do, NVM Express Base 2.0, section 4.2.4): the producer writes it inverted on every lap, so
// the consumer sees by the entry alone that it is new, and one cache line moves where a ring with
// positions moves two. There is no "full": a ring is built with at least as many entries as there
// are tokens (buffers, flow slots) that an entry can stand for, so an honest producer can't lap its
// consumer (shm_layout.h derives the numbers). A dishonest one overwrites entries of its own that
// the other side has not read, and nothing else: the consumer reads each word once and checks it.
//
// Memory starts as zeros; the first lap is written with phase 1.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

namespace mn::ipc {

constexpr uint32_t kPhaseBit = 0x80000000u;

// 16-byte entry. `word` is written last (release) and read first (acquire); the three others are
// relaxed, so that a hostile writer racing with the reader is no undefined behaviour.
struct Entry16 {
  std::atomic<uint32_t> a;
  std::atomic<uint32_t> b;
  std::atomic<uint32_t> c;
  std::atomic<uint32_t> word;  // bit 31: phase; bits 0-30: the user's
};
static_assert(sizeof(Entry16) == 16 && std::atomic<uint32_t>::is_always_lock_free);

// 4-byte entry: bit 31 is the phase, bits 0-30 the value.
struct Entry4 {
  std::atomic<uint32_t> word;
};
static_assert(sizeof(Entry4) == 4);

// What an Entry16 says, as plain values.
struct Item16 {
  uint32_t a = 0, b = 0, c = 0;
  uint32_t word = 0;  // 31 bits
};

// Private position of one side of a ring; lives in that side's own memory, never in the shared one.
class RingCursor {
 public:
  RingCursor() = default;
  // `capacity`: a power of two.
  explicit RingCursor(uint32_t capacity) : mask_(capacity - 1) {}

  uint32_t index() const { return position_ & mask_; }
  uint32_t index_after() const { return (position_ + 1) & mask_; }
  uint32_t phase() const { return phase_; }
  void advance() {
    position_++;
    if ((position_ & mask_) == 0) phase_ ^= kPhaseBit;
  }

 private:
  uint32_t mask_ = 0;
  uint32_t position_ = 0;
  uint32_t phase_ = kPhaseBit;
};

class Producer16 {
 public:
  Producer16() = default;
  Producer16(Entry16* entries, uint32_t capacity) : entries_(entries), cursor_(capacity) {}

  void push(const Item16& item) {
    Entry16& entry = entries_[cursor_.index()];
    entry.a.store(item.a, std::memory_order_relaxed);
    entry.b.store(item.b, std::memory_order_relaxed);
    entry.c.store(item.c, std::memory_order_relaxed);
    // Pairs with the acquire in Consumer16::pop: the entry and the buffer it names are visible.
    entry.word.store((item.word & ~kPhaseBit) | cursor_.phase(), std::memory_order_release);
    cursor_.advance();
  }

 private:
  Entry16* entries_ = nullptr;
  RingCursor cursor_;
};

class Consumer16 {
 public:
  Consumer16() = default;
  Consumer16(Entry16* entries, uint32_t capacity) : entries_(entries), cursor_(capacity) {}

  bool empty() const { return (load_word() & kPhaseBit) != cursor_.phase(); }

  // `a` of the entry after the next one. False: it is not there, or stands at the ring's start.
  bool peek_second(uint32_t* ret_a) const {
    const uint32_t at = cursor_.index_after();
    const Entry16& entry = entries_[at];
    // As in load_word.
    const uint32_t word = entry.word.load(std::memory_order_acquire);
    if (at == 0 || (word & kPhaseBit) != cursor_.phase()) return false;
    *ret_a = entry.a.load(std::memory_order_relaxed);
    return true;
  }

  bool pop(Item16* ret_item) {
    const uint32_t word = load_word();
    if ((word & kPhaseBit) != cursor_.phase()) return false;
    const Entry16& entry = entries_[cursor_.index()];
    ret_item->a = entry.a.load(std::memory_order_relaxed);
    ret_item->b = entry.b.load(std::memory_order_relaxed);
    ret_item->c = entry.c.load(std::memory_order_relaxed);
    ret_item->word = word & ~kPhaseBit;
    cursor_.advance();
    return true;
  }

 private:
  uint32_t load_word() const {
    // Pairs with the release in Producer16::push.
    return entries_[cursor_.index()].word.load(std::memory_order_acquire);
  }
  Entry16* entries_ = nullptr;
  RingCursor cursor_;
};

class Producer4 {
 public:
  Producer4() = default;
  Producer4(Entry4* entries, uint32_t capacity) : entries_(entries), cursor_(capacity) {}

  void push(uint32_t value) {
    // Pairs with the acquire in Consumer4: reads of the buffer that is given back happen before.
    entries_[cursor_.index()].word.store((value & ~kPhaseBit) | cursor_.phase(),
                                         std::memory_order_release);
    cursor_.advance();
  }

 private:
  Entry4* entries_ = nullptr;
  RingCursor cursor_;
};

class Consumer4 {
 public:
  Consumer4() = default;
  Consumer4(Entry4* entries, uint32_t capacity) : entries_(entries), cursor_(capacity) {}

  bool empty() const { return (load_word() & kPhaseBit) != cursor_.phase(); }

  bool pop(uint32_t* ret_value) {
    const uint32_t word = load_word();
    if ((word & kPhaseBit) != cursor_.phase()) return false;
    *ret_value = word & ~kPhaseBit;
    cursor_.advance();
    return true;
  }

 private:
  uint32_t load_word() const {
    // Pairs with the release in Producer4::push.
    return entries_[cursor_.index()].word.load(std::memory_order_acquire);
  }
  Entry4* entries_ = nullptr;
  RingCursor cursor_;
};

// The sleep/wake word: one per direction, written by the side that sleeps, read (and cleared) by
// the side that wakes it through a doorbell. Its value says what the sleeper waits for (kWakeX).
// The race, written out:
//
//   sleeper                                waker
//   S1 wants = what                        W1 push an entry to a ring
//   S2 seq_cst fence                       W2 seq_cst fence
//   S3 look at the rings; sleep if empty   W3 if wants & what was pushed: wants = 0, write the
//   eventfd
//
// The two fences have one order. If S2 is first, W3 sees the wish and rings. If W2 is first, S3
// sees the entry and does not sleep. Either way no wake-up is lost; both may happen, which is
// harmless.
struct alignas(64) SleepWord {
  std::atomic<uint32_t> wants;
};
static_assert(sizeof(SleepWord) == 64);

constexpr uint32_t kWakeEntries =
    1;  // deliver entries (application), submit or release entries (engine)
constexpr uint32_t kWakeSpace = 2;  // completed tx buffers (application)
constexpr uint32_t kWakeAny = kWakeEntries | kWakeSpace;

inline void sleep_announce(SleepWord* word, uint32_t wants = kWakeAny) {  // S1, S2; then look again
  word->wants.store(wants, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void sleep_end(SleepWord* word) { word->wants.store(0, std::memory_order_relaxed); }
// For the sleeper: false once a waker has taken the wish; its ring is done or on
// its way.
inline bool sleep_announced(const SleepWord* word) {
  return word->wants.load(std::memory_order_relaxed) != 0;
}

// W2, W3: true if the caller must ring the doorbell. Call it once after a batch of pushes.
inline bool wake_needed(SleepWord* word, uint32_t pushed = kWakeAny) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if ((word->wants.load(std::memory_order_relaxed) & pushed) == 0) return false;
  word->wants.store(0, std::memory_order_relaxed);
  return true;
}

}  // namespace mn::ipc
