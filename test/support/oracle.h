// SPDX-License-Identifier: MIT
// Oracle: knows everything that was sent and judges everything that arrives: each message once,
// whole, unchanged and in order for each flow, or the flow reported dead, and dead only for a
// reason that the run gave. A *life* is one end of one flow from open or accept to its end. Message
// bytes are computed from the life and the message's number, so nothing is stored; the first
// message of a life names it, which pairs the two lives of a flow however often a tuple is used
// again. One thread; a broken rule ends the process with the seed to replay.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "support/sim_clock.h"

namespace mn::test {

constexpr uint32_t kFirstMessageMin = 16;  // room for the life's name

struct Life {
  enum class State : uint8_t { kOpening, kLive, kFailed, kEnded, kForgotten, kCrashed };
  uint32_t uid = 0;
  int host = 0;
  FourTuple tuple{};
  bool opener = false;
  State state = State::kOpening;
  Instant born{};
  Instant ended{};
  uint32_t reason = 0;
  bool closed = false;   // this side called close
  bool aborted = false;  // this side called abort, or its host or application died

  std::vector<uint32_t> lengths;  // of the messages begun
  uint32_t sent = 0;              // messages handed over whole
  uint64_t bytes_received = 0;
  uint32_t received = 0;  // whole messages from the peer
  uint32_t offset = 0;    // bytes of the next one
  Life* peer = nullptr;

  bool over() const { return state != State::kOpening && state != State::kLive; }
};

class Oracle {
 public:
  Oracle(uint64_t seed, const SimClock* clock, SimTrace* trace)
      : seed_(seed), clock_(clock), trace_(trace) {}

  // Rules that some scenarios suspend.
  bool timeouts_allowed = false;  // the network was cut for long: flows may be given up
  bool timeouts_watched = false;  // somebody judges each of them when it happens
  bool receivers_stop = false;  // a flow that closes towards one that takes nothing may be given up
  bool hosts_die = false;       // an application or host dies: who it heard from is not known
  bool contents_checked = true;  // false: packets were forged on purpose, only survival counts

  Life* open(int host, const FourTuple& tuple, bool opener);
  void connected(Life* life);
  void connect_failed(Life* life);
  // A new message of this life; the length of the first one is raised to kFirstMessageMin.
  uint32_t begin_message(Life* life, uint32_t length);
  void message_sent(Life* life) { life->sent++; }
  void fill(const Life& life, uint32_t index, uint32_t offset, std::span<uint8_t> out) const;

  void on_bytes(Life* life, std::span<const uint8_t> bytes, bool first, bool last);
  void on_bundle(Life* life, std::span<const uint8_t> payload, uint32_t count);
  void on_ended(Life* life, uint32_t reason);
  // The application closed and hears no more of the flow: what it sent must arrive, nothing tells
  // it so.
  void close_and_forget(Life* life);
  void crash(Life* life);

  // True when no live pair of lives waits for a message.
  bool settled() const;
  bool all_over() const;
  // Progress so far, to see whether a healed network moves again.
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t messages_received() const { return messages_received_; }
  // Rules that can be judged only when everything has been received.
  void check_final() const;
  void describe_unsettled() const;
  const std::deque<Life>& lives() const { return lives_; }

 private:
  bool waits(const Life& life) const;  // something sent to it did not arrive yet
  void pair(Life* life, std::span<const uint8_t> bytes);
  void check_ending(const Life& life) const;
  bool may_reset(const Life& peer, const Life& life) const;
  bool replaced(const Life& life) const;
  // Whether the other end of `life` may have done what `could` says: its peer, or when no message
  // has told who that is, anyone with the same tuple at the same time.
  template <typename Could>
  bool other_end(const Life& life, bool nobody, Could could) const;
  uint64_t key(const Life& life, uint32_t index) const {
    return mix64(seed_ ^ mix64((uint64_t{life.uid} << 32) | index));
  }

  uint64_t seed_;
  const SimClock* clock_;
  SimTrace* trace_;
  std::deque<Life> lives_;  // uid - 1
  uint64_t bytes_received_ = 0;
  uint64_t messages_received_ = 0;
};

}  // namespace mn::test
