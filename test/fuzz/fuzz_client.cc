// SPDX-License-Identifier: MIT
// libmachnet against a daemon that delivers and completes whatever the input says, while the
// program calls the API in any order. Nothing may crash; what the library gives back was given to
// it before; a buffer is not submitted while the daemon has it.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "ipc/shm_layout.h"
#include "libmachnet/channel.h"
#include "machnet.h"

namespace {

using namespace mn;

constexpr ipc::LaneShape kShape = {16, 16, 128, 4};
constexpr uint32_t kViews = 4;
constexpr size_t kStepsMax = 4096;

void require(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz_client: %s\n", what);
  abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint32_t byte() {
    if (left_ == 0) return 0;
    left_--;
    return *data_++;
  }
  // Mostly a small number, at times a large one.
  uint32_t number(uint32_t usual) {
    const uint32_t b = byte();
    return b < 240 ? b % usual : b == 255 ? UINT32_MAX : (byte() << 8 | byte());
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

MachnetFlow_t tuple(uint32_t n) { return {1, 2, static_cast<uint16_t>(n % 6), 4}; }

class Game {
 public:
  Game() {
    size_ = ipc::channel_size(&kShape, 1);
    memory_ = static_cast<uint8_t*>(aligned_alloc(4096, size_));
    memset(memory_, 0, size_);
    new (memory_) ipc::ChannelHeader{ipc::kChannelMagic, ipc::kChannelVersion, 1, {}};
    uint8_t* base = memory_ + ipc::kFirstLaneOffset;
    const ipc::LaneOffsets at = ipc::lane_offsets(kShape);
    submit_ = {reinterpret_cast<ipc::Entry16*>(base + at.submit), ipc::submit_capacity(kShape)};
    complete_ = {reinterpret_cast<ipc::Entry4*>(base + at.complete),
                 ipc::complete_capacity(kShape)};
    deliver_ = {reinterpret_cast<ipc::Entry16*>(base + at.deliver), ipc::deliver_capacity(kShape)};
    release_ = {reinterpret_cast<ipc::Entry4*>(base + at.release), ipc::release_capacity(kShape)};
    rx_data_ = base + at.rx_data;
    client::ChannelParts parts;
    parts.memory = memory_;
    parts.memory_size = size_;
    parts.shapes = &kShape;
    parts.lane_count = 1;
    channel_ = client::channel_from_memory(parts);
    require(channel_ != nullptr, "no channel");
  }
  ~Game() {
    client::channel_free(static_cast<client::Channel*>(channel_));
    free(memory_);
  }

  void step(Input* in) {
    const uint32_t op = in->byte();
    if (op < 96) {
      deliver(op % 8, in);
    } else {
      call(op, in);
    }
    collect();
  }

 private:
  void deliver(uint32_t kind, Input* in) {
    ipc::Item16 item;
    item.a = ipc::flow_ref(in->number(4), 1 + in->byte() % 2);
    item.b = in->number(kShape.rx_buffers);
    const uint32_t flags = in->byte() % 4;
    switch (kind) {
      case 0:
      case 1:
      case 2:
        item.c = in->number(8);
        item.word = ipc::entry_word(ipc::kDeliverSegment, flags, in->number(121) & 0xffff);
        break;
      case 3:
      case 4:
        item.c = in->number(4) | in->number(6) << 16;
        item.word = ipc::entry_word(ipc::kDeliverBundle, 0, in->number(121) & 0xffff);
        break;
      case 5:
        item.word = ipc::entry_word(ipc::kDeliverOpened, 0, 0);
        break;
      case 6:
        item.c = in->number(7);
        item.word = ipc::entry_word(ipc::kDeliverEnded, 0, 0);
        break;
      default:
        item.c = in->byte();
        item.word = ipc::entry_word(in->byte() & 0x7f, flags, in->number(128) & 0xffff);
    }
    if (item.b < kShape.rx_buffers) given_[item.b]++;
    deliver_.push(item);
  }

  void call(uint32_t op, Input* in) {
    static uint8_t data[4096];
    MachnetEvent_t event;
    const uint32_t n = in->byte();
    switch (op % 12) {
      case 0:
      case 1: {
        const ssize_t got = machnet_recv(channel_, data, n % 2 ? sizeof data : n, nullptr);
        require(got <= static_cast<ssize_t>(sizeof data), "received more than there was room for");
        break;
      }
      case 2:
        machnet_send(channel_, tuple(n), data, in->number(1000) % sizeof data);
        break;
      case 3:
        machnet_next_event(channel_, &event);
        break;
      case 4:
        machnet_close(channel_, tuple(n));
        break;
      case 5:
        client::register_flow(static_cast<client::Channel*>(channel_), 0,
                              ipc::flow_ref(in->number(4), 1 + n % 2), tuple(n));
        break;
      case 6:
        if (views_[n % kViews].handle == nullptr) machnet_recv_view(channel_, &views_[n % kViews]);
        break;
      case 7:
        machnet_view_release(channel_, &views_[n % kViews]);
        break;
      case 8:
        complete(in->number(kShape.tx_buffers));
        break;
      case 9:
        rx_data_[(n * 256 + in->byte()) % (kShape.rx_buffers * kShape.buffer_size)] =
            static_cast<uint8_t>(in->byte());
        break;
      case 10:
        buffers(n, in);
        break;
      default:
        machnet_wait(channel_, 0);
    }
  }

  void buffers(uint32_t n, Input* in) {
    MachnetIovec_t iov[8];
    size_t count = n % 9;
    if (machnet_buffer_alloc(channel_, in->number(900), iov, &count) != 0) return;
    for (size_t i = 0; i < count; i++) memset(iov[i].base, 1, iov[i].len);
    if (in->byte() % 4 == 0) iov[count - 1].base = iov[0].base;
    if (machnet_buffer_send(channel_, tuple(n), iov, count) != 0) {
      machnet_buffer_free(channel_, iov, count);
    }
  }

  void complete(uint32_t buffer) {
    if (buffer >= kShape.tx_buffers || !submitted_[buffer]) cheated_ = true;
    if (buffer < kShape.tx_buffers) submitted_[buffer] = false;
    complete_.push(buffer);
  }

  // What the library wrote.
  void collect() {
    ipc::Item16 item;
    while (submit_.pop(&item)) {
      if (ipc::entry_type(item.word) == ipc::kSubmitClose) continue;
      require(item.b < kShape.tx_buffers, "submitted a buffer that does not exist");
      require(cheated_ || !submitted_[item.b], "submitted a buffer that the daemon has");
      require(ipc::entry_length(item.word) <= kShape.buffer_size, "submitted too much");
      submitted_[item.b] = true;
    }
    uint32_t value;
    while (release_.pop(&value)) {
      if ((value & ipc::kReleaseSlot) != 0) continue;
      require(value < kShape.rx_buffers && given_[value] > 0, "released what was not delivered");
      given_[value]--;
    }
  }

  uint8_t* memory_;
  uint64_t size_;
  uint8_t* rx_data_;
  void* channel_;
  ipc::Consumer16 submit_;
  ipc::Producer4 complete_;
  ipc::Producer16 deliver_;
  ipc::Consumer4 release_;
  uint32_t given_[kShape.rx_buffers] = {};
  bool submitted_[kShape.tx_buffers] = {};
  bool cheated_ = false;
  MachnetView_t views_[kViews] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Game game;
  Input input(data, size);
  for (size_t step = 0; step < kStepsMax && !input.empty(); step++) game.step(&input);
  return 0;
}
