// SPDX-License-Identifier: MIT
#include "engine/frame_sender.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <vector>
extern "C" {
#include <cmocka.h>
}

using namespace mn;

namespace {

// A port with `pool` frames whose queue takes `accept` of each burst.
class TestPort final : public NicPort {
 public:
  std::vector<uint8_t*> pool;
  size_t accept = kBurstMax;
  std::vector<uint8_t> sent;  // first byte of each frame
  std::vector<uint32_t> lengths;
  size_t freed = 0;

  explicit TestPort(size_t frames) : memory_(frames * 2048) {
    for (size_t i = 0; i < frames; i++) pool.push_back(memory_.data() + i * 2048);
  }
  const NicFacts& facts() const override { return facts_; }
  size_t rx_burst(std::span<RxFrame>) override { return 0; }
  void rx_release(std::span<const RxFrame>) override {}
  size_t tx_alloc(std::span<TxFrame> frames) override {
    size_t n = 0;
    while (n < frames.size() && !pool.empty()) {
      frames[n++] = {
          .data = pool.back(), .length = 0, .offload_checksum = false, .handle = nullptr};
      pool.pop_back();
    }
    return n;
  }
  size_t tx_burst(std::span<TxFrame> frames) override {
    const size_t n = frames.size() < accept ? frames.size() : accept;
    for (size_t i = 0; i < n; i++) {
      sent.push_back(frames[i].data[0]);
      lengths.push_back(frames[i].length);
      pool.push_back(frames[i].data);
    }
    return n;
  }
  void tx_free(std::span<const TxFrame> frames) override {
    freed += frames.size();
    for (const TxFrame& f : frames) pool.push_back(f.data);
  }
  bool arm_wake() override { return true; }
  void disarm_wake() override {}
  void service(NicCounters*) override {}

 private:
  NicFacts facts_;
  std::vector<uint8_t> memory_;
};

struct Fixture {
  explicit Fixture(size_t frames) : port(frames), sender(&port) {}
  TestPort port;
  FrameSender sender;
  uint8_t next = 0;

  bool send(uint32_t length = 100) {
    uint8_t* frame = sender.begin({});
    if (frame == nullptr) return false;
    frame[0] = next++;
    sender.commit(length, false);
    return true;
  }
};

int setup(void** state) {
  *state = new Fixture(128);
  return 0;
}
int setup_small(void** state) {
  *state = new Fixture(4);
  return 0;
}
int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}
Fixture& fixture(void** state) { return *static_cast<Fixture*>(*state); }

void commit__short_frames_are_padded_with_zeros(void** state) {
  Fixture& f = fixture(state);
  uint8_t* frame = f.sender.begin({});
  memset(frame, 0xee, 64);
  f.sender.commit(42, false);
  f.sender.flush({});
  assert_int_equal(f.port.lengths[0], 60);
  for (size_t i = 42; i < 60; i++) assert_int_equal(frame[i], 0);
  assert_int_equal(frame[60], 0xee);
}

void flush__refused_frames_are_sent_later_in_order(void** state) {
  Fixture& f = fixture(state);
  f.port.accept = 3;
  for (int i = 0; i < 10; i++) assert_true(f.send());
  for (int i = 0; i < 4; i++) f.sender.flush({});
  assert_int_equal(f.port.sent.size(), 10);
  for (size_t i = 0; i < 10; i++) assert_int_equal(f.port.sent[i], i);
  assert_int_equal(f.sender.frames(), 10);
  assert_int_equal(f.sender.bytes(), 1000);
  assert_true(f.sender.idle());
}

void begin__large_frames_leave_in_small_bursts(void** state) {
  Fixture& f = fixture(state);
  for (int i = 0; i < 2; i++) assert_true(f.send(9000));
  assert_int_equal(f.port.sent.size(), 0);
  assert_true(f.send(9000));
  assert_int_equal(f.port.sent.size(), 2);
  for (int i = 0; i < 20; i++) assert_true(f.send(100));
  assert_int_equal(f.port.sent.size(), 2);
  f.sender.flush({});
  assert_int_equal(f.port.sent.size(), 23);
}

void begin__full_queue_gives_no_frame(void** state) {
  Fixture& f = fixture(state);
  f.port.accept = 0;
  for (size_t i = 0; i < kBurstMax; i++) assert_true(f.send());
  assert_false(f.send());
  f.port.accept = 1;
  assert_true(f.send());
}

void begin__empty_pool_gives_no_frame(void** state) {
  Fixture& f = fixture(state);
  f.port.accept = 0;
  for (int i = 0; i < 4; i++) assert_true(f.send());
  assert_null(f.sender.begin({}));
}

void begin__same_frame_until_commit(void** state) {
  Fixture& f = fixture(state);
  uint8_t* frame = f.sender.begin({});
  assert_ptr_equal(frame, f.sender.begin({}));
}

void flush__queue_that_takes_nothing_for_long_loses_its_frames(void** state) {
  Fixture& f = fixture(state);
  f.port.accept = 0;
  assert_true(f.send());
  Instant now{1000};
  f.sender.flush(now);
  f.sender.flush(now + milliseconds(1));
  assert_false(f.sender.idle());
  f.sender.flush(now + milliseconds(3));
  assert_true(f.sender.idle());
  assert_int_equal(f.sender.stalled_frames(), 1);
  assert_int_equal(f.port.freed, 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(commit__short_frames_are_padded_with_zeros, setup, teardown),
      cmocka_unit_test_setup_teardown(flush__refused_frames_are_sent_later_in_order, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(begin__large_frames_leave_in_small_bursts, setup, teardown),
      cmocka_unit_test_setup_teardown(begin__full_queue_gives_no_frame, setup, teardown),
      cmocka_unit_test_setup_teardown(begin__empty_pool_gives_no_frame, setup_small, teardown),
      cmocka_unit_test_setup_teardown(begin__same_frame_until_commit, setup, teardown),
      cmocka_unit_test_setup_teardown(flush__queue_that_takes_nothing_for_long_loses_its_frames,
                                      setup, teardown),
  };
  return cmocka_run_group_tests_name("frame_sender", tests, nullptr, nullptr);
}
