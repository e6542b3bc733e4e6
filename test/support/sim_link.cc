// SPDX-License-Identifier: MIT
#include "support/sim_link.h"

#include <algorithm>

namespace mn::test {
namespace {
constexpr size_t kPastMax = 128;  // packets remembered for replay
}

SimLink::SimLink(SimClock* clock, SimTrace* trace, uint64_t seed, const LinkConfig& config,
                 Deliver deliver)
    : clock_(clock), trace_(trace), random_(seed), config_(config), deliver_(std::move(deliver)) {}

void SimLink::heal() {
  LinkConfig clean;
  clean.bits_per_second = config_.bits_per_second;
  clean.delay = config_.delay;
  clean.jitter = config_.jitter;
  clean.queue_packets = std::max<uint32_t>(config_.queue_packets, 256);
  clean.corrupt_from = config_.corrupt_from;
  clean.corrupt_size_min = config_.corrupt_size_min;
  config_ = clean;
  burst_ = false;
  drop_if_ = nullptr;
}

size_t SimLink::queued() {
  while (!departures_.empty() && departures_.front() <= clock_->now()) departures_.pop_front();
  return departures_.size();
}

Instant SimLink::drained_to(size_t packets) {
  const size_t waiting = queued();
  return waiting <= packets ? clock_->now() : departures_[waiting - packets - 1];
}

bool SimLink::policed(size_t bytes) {
  if (config_.policed_bits_per_second == 0) return false;
  const double seconds = static_cast<double>((clock_->now() - tokens_at_).ns) * 1e-9;
  tokens_at_ = clock_->now();
  tokens_ = std::min(tokens_ + seconds * static_cast<double>(config_.policed_bits_per_second) / 8,
                     static_cast<double>(config_.policed_burst_bytes));
  if (tokens_ < static_cast<double>(bytes)) return true;
  tokens_ -= static_cast<double>(bytes);
  return false;
}

bool SimLink::lost(std::span<const uint8_t> bytes) {
  const uint64_t index = counters_.sent++;
  if (drop_if_ && drop_if_(index, bytes)) {
    counters_.exact_drops++;
    return true;
  }
  if (config_.blackhole || (config_.bytes_max > 0 && bytes.size() > config_.bytes_max)) {
    counters_.blackholed++;
    return true;
  }
  burst_ = burst_ ? !random_.chance(config_.burst_leave) : random_.chance(config_.burst_enter);
  if ((burst_ && random_.chance(config_.burst_loss)) || random_.chance(config_.loss)) {
    counters_.losses++;
    return true;
  }
  if (policed(bytes.size())) {
    counters_.policed++;
    return true;
  }
  if (queued() >= config_.queue_packets) {
    counters_.queue_drops++;
    return true;
  }
  return false;
}

void SimLink::send(std::span<const uint8_t> bytes) {
  trace_->add(static_cast<uint64_t>(clock_->now().ns));
  trace_->add_bytes(bytes);
  if (lost(bytes)) {
    trace_->note(clock_->now(), "  link: dropped");
    return;
  }
  int64_t transmission_ns = 0;
  if (config_.bits_per_second != 0) {
    transmission_ns =
        static_cast<int64_t>((bytes.size() + 24) * 8 * 1'000'000'000 / config_.bits_per_second);
  }
  busy_until_ = std::max(busy_until_, clock_->now()) + nanoseconds(transmission_ns);
  departures_.push_back(busy_until_);
  Instant arrival = busy_until_ + config_.delay + random_.duration({}, config_.jitter);
  if (random_.chance(config_.reorder)) {
    counters_.reordered++;
    fly(bytes, arrival + random_.duration({}, config_.reorder_delay));
  } else {
    last_arrival_ = arrival = std::max(arrival, last_arrival_);
    fly(bytes, arrival);
  }
  if (random_.chance(config_.duplicate)) {
    counters_.duplicates++;
    fly(bytes, arrival + random_.duration({}, config_.reorder_delay));
  }
  if (config_.replay > 0) {
    if (random_.chance(config_.replay) && !past_.empty()) {
      counters_.replayed++;
      fly(past_[random_.below(past_.size())],
          arrival + random_.duration({}, config_.reorder_delay));
    }
    remember(bytes);
  }
}

void SimLink::remember(std::span<const uint8_t> bytes) {
  if (past_.size() < kPastMax) {
    past_.emplace_back(bytes.begin(), bytes.end());
  } else if (random_.chance(0.1)) {  // so that old ones stay for a long time
    past_[past_next_++ % kPastMax].assign(bytes.begin(), bytes.end());
  }
}

void SimLink::fly(std::span<const uint8_t> bytes, Instant arrival) {
  if (free_flights_.empty()) {
    free_flights_.push_back(static_cast<uint32_t>(flights_.size()));
    flights_.emplace_back();
  }
  const uint32_t slot = free_flights_.back();
  free_flights_.pop_back();
  Flight& flight = flights_[slot];
  flight.bytes.assign(bytes.begin(), bytes.end());
  flight.damaged = false;
  if (random_.chance(config_.corrupt)) damage(&flight);
  clock_->at(arrival, [this, slot] { arrive(slot); });
}

// A burst of at most 15 bits: the Internet checksum catches every one of those.
void SimLink::damage(Flight* flight) {
  if (flight->bytes.size() < std::max(config_.corrupt_from + 2, config_.corrupt_size_min)) return;
  const size_t at = random_.between(config_.corrupt_from, flight->bytes.size() - 2);
  const uint32_t length = static_cast<uint32_t>(random_.between(1, 8));
  const uint32_t shift = static_cast<uint32_t>(random_.below(8));
  const uint32_t bits =
      ((1u << (length - 1)) | 1u | (static_cast<uint32_t>(random_.next()) & ((1u << length) - 1)))
      << shift;
  flight->bytes[at] ^= static_cast<uint8_t>(bits);
  flight->bytes[at + 1] ^= static_cast<uint8_t>(bits >> 8);
  flight->damaged = true;
  counters_.corrupted++;
}

void SimLink::arrive(uint32_t slot) {
  counters_.delivered++;
  Flight& flight = flights_[slot];
  deliver_(flight.bytes, flight.damaged);
  free_flights_.push_back(slot);
}

}  // namespace mn::test
