// SPDX-License-Identifier: MIT
#include "support/oracle.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "ipc/shm_layout.h"
#include "support/array_store.h"

namespace mn::test {
namespace {

constexpr uint32_t kMagic = 0x4d4e6c66;
constexpr Duration kHalfOpen = seconds(1);  // how long an acceptor waits for the opener

uint64_t pattern(uint64_t key, uint64_t word) {
  const uint64_t x = (key + word) * 0x9e3779b97f4a7c15;
  return x ^ (x >> 29);
}

const char* state_name(Life::State state) {
  static const char* const names[] = {"opening", "live", "failed", "ended", "forgotten", "crashed"};
  return names[static_cast<int>(state)];
}

bool reversed(const FourTuple& a, const FourTuple& b) {
  return a.local_ip == b.remote_ip && a.remote_ip == b.local_ip && a.local_port == b.remote_port &&
         a.remote_port == b.local_port;
}

}  // namespace

Life* Oracle::open(int host, const FourTuple& tuple, bool opener) {
  Life& life = lives_.emplace_back();
  life.uid = static_cast<uint32_t>(lives_.size());
  life.host = host;
  life.tuple = tuple;
  life.opener = opener;
  life.born = clock_->now();
  trace_->add(life.uid);
  trace_->note(clock_->now(), "life %u: host %d %s %08x:%u -> %08x:%u", life.uid, host,
               opener ? "opens" : "accepts", tuple.local_ip, tuple.local_port, tuple.remote_ip,
               tuple.remote_port);
  return &life;
}

void Oracle::connected(Life* life) {
  SIM_CHECK(life->state == Life::State::kOpening, "life %u connected while %s", life->uid,
            state_name(life->state));
  life->state = Life::State::kLive;
  trace_->note(clock_->now(), "life %u: live", life->uid);
}

void Oracle::connect_failed(Life* life) {
  SIM_CHECK(life->state == Life::State::kOpening, "life %u: connect failed while %s", life->uid,
            state_name(life->state));
  life->state = Life::State::kFailed;
  life->ended = clock_->now();
  trace_->note(clock_->now(), "life %u: connect failed", life->uid);
}

uint32_t Oracle::begin_message(Life* life, uint32_t length) {
  if (life->lengths.empty()) length = std::max(length, kFirstMessageMin);
  life->lengths.push_back(length);
  return static_cast<uint32_t>(life->lengths.size() - 1);
}

// Message 0 begins with magic, name of the life, and zeros up to 16 bytes.
void Oracle::fill(const Life& life, uint32_t index, uint32_t offset, std::span<uint8_t> out) const {
  const uint64_t k = key(life, index);
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = offset + done;
    uint64_t word = pattern(k, at / 8);
    if (index == 0 && at < 16) word = at < 8 ? (uint64_t{life.uid} << 32) | kMagic : 0;
    uint8_t bytes[8];
    std::memcpy(bytes, &word, 8);
    const size_t n = std::min<size_t>(8 - at % 8, out.size() - done);
    std::memcpy(out.data() + done, bytes + at % 8, n);
    done += n;
  }
}

void Oracle::pair(Life* life, std::span<const uint8_t> bytes) {
  SIM_CHECK(bytes.size() >= 8, "life %u: first segment of a first message has %zu bytes", life->uid,
            bytes.size());
  uint32_t words[2];
  std::memcpy(words, bytes.data(), 8);
  SIM_CHECK(
      words[0] == kMagic && words[1] >= 1 && words[1] <= lives_.size(),
      "life %u: its first message is no first message (%08x %08x): lost, reordered or damaged",
      life->uid, words[0], words[1]);
  Life* peer = &lives_[words[1] - 1];
  SIM_CHECK(peer->host != life->host || life->tuple.local_ip == life->tuple.remote_ip,
            "life %u hears from life %u of its own host", life->uid, peer->uid);
  SIM_CHECK(reversed(peer->tuple, life->tuple), "life %u got a message of life %u, another tuple",
            life->uid, peer->uid);
  SIM_CHECK(peer->opener != life->opener, "lives %u and %u are the same end", life->uid, peer->uid);
  SIM_CHECK(peer->peer == nullptr || peer->peer == life,
            "life %u hears from life %u, whose peer is %u", life->uid, peer->uid,
            peer->peer == nullptr ? 0 : peer->peer->uid);
  SIM_CHECK(life->peer == nullptr || life->peer == peer,
            "life %u hears from life %u, its peer is %u", life->uid, peer->uid,
            life->peer == nullptr ? 0 : life->peer->uid);
  life->peer = peer;
  peer->peer = life;
}

void Oracle::on_bytes(Life* life, std::span<const uint8_t> bytes, bool first, bool last) {
  trace_->add((uint64_t{life->uid} << 32) | bytes.size());
  bytes_received_ += bytes.size();
  life->bytes_received += bytes.size();
  if (last) messages_received_++;
  if (!contents_checked) return;
  SIM_CHECK(!life->over(), "life %u: message after its end", life->uid);
  SIM_CHECK(!bytes.empty(), "life %u: an empty segment", life->uid);
  SIM_CHECK(first == (life->offset == 0), "life %u: message %u, offset %u: 'first' is %d",
            life->uid, life->received, life->offset, first);
  if (life->received == 0 && first) pair(life, bytes);
  const Life* peer = life->peer;
  SIM_CHECK(life->received < peer->lengths.size(), "life %u: message %u was never sent by life %u",
            life->uid, life->received, peer->uid);
  const uint32_t length = peer->lengths[life->received];
  SIM_CHECK(life->offset + bytes.size() <= length,
            "life %u: message %u of life %u is longer than the %u sent", life->uid, life->received,
            peer->uid, length);
  uint8_t expected[1024];
  for (size_t at = 0; at < bytes.size(); at += sizeof(expected)) {
    const size_t n = std::min(sizeof(expected), bytes.size() - at);
    fill(*peer, life->received, static_cast<uint32_t>(life->offset + at), std::span(expected, n));
    SIM_CHECK(std::memcmp(expected, bytes.data() + at, n) == 0,
              "life %u: message %u of life %u (length %u) differs in bytes %zu..%zu", life->uid,
              life->received, peer->uid, length, life->offset + at, life->offset + at + n - 1);
  }
  life->offset += static_cast<uint32_t>(bytes.size());
  SIM_CHECK(last == (life->offset == length),
            "life %u: message %u has %u bytes of %u and 'last' is %d", life->uid, life->received,
            life->offset, length, last);
  if (last) {
    trace_->note(clock_->now(), "life %u: received message %u (%u bytes)", life->uid,
                 life->received, length);
    life->received++;
    life->offset = 0;
  }
}

void Oracle::on_bundle(Life* life, std::span<const uint8_t> payload, uint32_t count) {
  size_t at = (2 * size_t{count} + 7) / 8 * 8;
  for (uint32_t i = 0; i < count; i++) {
    SIM_CHECK(payload.size() >= 2 * size_t{i} + 2, "life %u: a bundle too short for its table",
              life->uid);
    const size_t length = static_cast<size_t>(payload[2 * i]) << 8 | payload[2 * i + 1];
    at = (at + 7) / 8 * 8;
    SIM_CHECK(length > 0 && at + length <= payload.size(),
              "life %u: a bundle's message runs past its end", life->uid);
    on_bytes(life, payload.subspan(at, length), true, true);
    at += length;
  }
  SIM_CHECK(at == payload.size(), "life %u: %zu bytes after a bundle", life->uid,
            payload.size() - at);
}

void Oracle::on_ended(Life* life, uint32_t reason) {
  SIM_CHECK(life->state == Life::State::kLive, "life %u ended while %s", life->uid,
            state_name(life->state));
  life->state = Life::State::kEnded;
  life->reason = reason;
  life->ended = clock_->now();
  trace_->add(reason);
  trace_->note(clock_->now(), "life %u: ended, reason %u", life->uid, reason);
}

void Oracle::close_and_forget(Life* life) {
  life->closed = true;
  if (life->over()) return;
  life->state = Life::State::kForgotten;
  life->ended = clock_->now();
  trace_->note(clock_->now(), "life %u: closed and forgotten", life->uid);
}

void Oracle::crash(Life* life) {
  // What was closed and forgotten may still be on its way; it ends with the application.
  if (life->state == Life::State::kForgotten) life->aborted = true;
  if (life->over()) return;
  life->state = Life::State::kCrashed;
  life->aborted = true;
  life->ended = clock_->now();
}

bool Oracle::waits(const Life& life) const {
  return life.peer != nullptr && (life.received < life.peer->sent || life.offset != 0);
}

bool Oracle::settled() const {
  if (!contents_checked) return true;
  return std::none_of(lives_.begin(), lives_.end(), [this](const Life& life) {
    if (life.over()) return false;
    // One whose first message has not arrived has no peer yet.
    if (life.peer == nullptr) return life.state == Life::State::kOpening || life.sent > 0;
    return waits(life) && !life.peer->over();
  });
}

bool Oracle::all_over() const {
  return std::all_of(lives_.begin(), lives_.end(), [](const Life& life) { return life.over(); });
}

// `nobody`: the answer when there was no other end.
template <typename Could>
bool Oracle::other_end(const Life& life, bool nobody, Could could) const {
  if (life.peer != nullptr) return could(*life.peer);
  bool somebody = false;
  for (const Life& other : lives_) {
    if (!reversed(other.tuple, life.tuple) || other.opener == life.opener || other.peer != nullptr)
      continue;
    // An acceptor's life begins when it looks, which may be after the opener's end.
    if (other.opener ? other.born > life.ended : other.over() && other.ended < life.born) continue;
    if (could(other)) return true;
    somebody = true;
  }
  // Where hosts start anew, that somebody may be a later life of the same tuple; and it may be the
  // other end of an earlier one that nothing was sent on.
  const auto is_rival = [&life](const Life& l) {
    return l.uid != life.uid && l.opener == life.opener && l.tuple == life.tuple &&
           l.peer == nullptr;
  };
  const bool is_certain = !hosts_die && std::none_of(lives_.begin(), lives_.end(), is_rival);
  return somebody && is_certain ? false : nobody;
}

// An end whose application neither aborted nor died resets the other one when it gives it up; and
// when it has forgotten the flow, because it had everything, the last ack was lost, and its place
// was needed.
bool Oracle::may_reset(const Life& peer, const Life& life) const {
  return peer.aborted || peer.reason == ipc::kEndTimeout ||
         (peer.state == Life::State::kForgotten && timeouts_allowed) ||
         (life.closed && peer.reason == ipc::kEndClosedByPeer && peer.received == life.sent);
}

// Its peer's host started anew, and what opened the same tuple again was accepted by another
// engine.
bool Oracle::replaced(const Life& life) const {
  return hosts_die && std::any_of(lives_.begin(), lives_.end(), [&life](const Life& later) {
           return later.host == life.host && later.tuple == life.tuple && !later.opener &&
                  later.uid > life.uid && later.born >= life.ended;
         });
}

void Oracle::check_ending(const Life& life) const {
  const Life* peer = life.peer;
  switch (life.reason) {
    case ipc::kEndClosed:
      SIM_CHECK(life.closed, "life %u ended as closed by itself and was not", life.uid);
      SIM_CHECK(life.sent == 0 || (peer == nullptr ? hosts_die : peer->received == life.sent) ||
                    (peer != nullptr && peer->state == Life::State::kCrashed),
                "life %u: close finished, but life %u received %u of its %u messages", life.uid,
                peer == nullptr ? 0 : peer->uid, peer == nullptr ? 0 : peer->received, life.sent);
      break;
    case ipc::kEndClosedByPeer:
      SIM_CHECK(other_end(life, false, [](const Life& other) { return other.closed; }),
                "life %u ended as closed by its peer, which did not close", life.uid);
      SIM_CHECK(peer == nullptr || peer->sent == life.received,
                "life %u: closed by its peer %u after %u of its %u messages", life.uid,
                peer == nullptr ? 0 : peer->uid, life.received, peer == nullptr ? 0 : peer->sent);
      break;
    case ipc::kEndReset:
      // Somebody must have begun. An acceptor's application may never have heard of the flow: it
      // died, or every sign of the opener was lost for as long as its host waits for one.
      SIM_CHECK(
          life.aborted || replaced(life) ||
              other_end(life, life.opener && (hosts_die || life.ended - life.born >= kHalfOpen),
                        [&](const Life& other) { return may_reset(other, life); }),
          "life %u was reset at %" PRId64 " ns, its peer %u did nothing", life.uid, life.ended.ns,
          peer == nullptr ? 0 : peer->uid);
      break;
    case ipc::kEndTimeout:
      // Whoever opened the tuple anew is another flow's end and answers nothing of this one.
      SIM_CHECK(
          timeouts_watched || timeouts_allowed || (life.closed && receivers_stop) || replaced(life),
          "life %u was given up although the network was never cut (peer %u)", life.uid,
          peer == nullptr ? 0 : peer->uid);
      break;
    default:
      SIM_CHECK(life.aborted || (peer != nullptr && peer->aborted), "life %u ended with reason %u",
                life.uid, life.reason);
  }
}

void Oracle::check_final() const {
  if (!contents_checked) return;
  for (const Life& life : lives_) {
    if (life.state == Life::State::kEnded) check_ending(life);
    SIM_CHECK(life.over() || !waits(life) || life.peer->over(),
              "life %u: %u of %u messages of life %u arrived", life.uid, life.received,
              life.peer->sent, life.peer->uid);
  }
}

void Oracle::describe_unsettled() const {
  for (const Life& life : lives_) {
    if (life.over()) continue;
    std::fprintf(
        stderr,
        "  life %u host %d %s %s, peer %u%s: sent %u (begun %zu), received %u + %u bytes of %u\n",
        life.uid, life.host, life.opener ? "opener" : "acceptor", state_name(life.state),
        life.peer == nullptr ? 0 : life.peer->uid,
        life.peer != nullptr && life.peer->over() ? " (over)" : "", life.sent, life.lengths.size(),
        life.received, life.offset, life.peer == nullptr ? 0 : life.peer->sent);
  }
}

}  // namespace mn::test
