// SPDX-License-Identifier: MIT
#include "support/sim_port.h"

#include "support/array_store.h"

namespace mn::test {
namespace {

constexpr size_t kEthernet = 14;
constexpr size_t kIpv4 = 20;
constexpr size_t kFrameMin = 60;

uint64_t sum16(std::span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2)
    sum += static_cast<uint32_t>(bytes[i]) << 8 | bytes[i + 1];
  if (bytes.size() % 2 != 0) sum += static_cast<uint32_t>(bytes.back()) << 8;
  return sum;
}

uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

bool is_udp(std::span<const uint8_t> frame) {
  return frame.size() >= kEthernet + kIpv4 + 8 && frame[12] == 8 && frame[13] == 0 &&
         frame[14] == 0x45 && frame[23] == 17;
}

// The UDP datagram by the IPv4 total length; empty: the length is wrong.
std::span<const uint8_t> udp_of(std::span<const uint8_t> frame) {
  const size_t total = static_cast<size_t>(frame[16]) << 8 | frame[17];
  if (total < kIpv4 + 8 || kEthernet + total > frame.size()) return {};
  return frame.subspan(kEthernet + kIpv4, total - kIpv4);
}

uint64_t pseudo_header(std::span<const uint8_t> frame, size_t udp_length) {
  return sum16(frame.subspan(26, 8)) + 17 + udp_length;
}

void put16(std::span<uint8_t> bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

// What a NIC does that completes both checksums.
void complete_checksums(std::span<uint8_t> frame) {
  SIM_CHECK(is_udp(frame), "port: checksum offload for a frame that is no UDP over IPv4");
  put16(frame, 24, 0);
  put16(frame, 24, static_cast<uint16_t>(~fold(sum16(frame.subspan(kEthernet, kIpv4)))));
  const std::span<const uint8_t> udp = udp_of(frame);
  SIM_CHECK(!udp.empty(), "port: checksum offload for a frame with a wrong length");
  // The engine leaves the sum of the pseudo header there.
  const uint16_t left = static_cast<uint16_t>(udp[6] << 8 | udp[7]);
  SIM_CHECK(left == fold(pseudo_header(frame, udp.size())),
            "port: the UDP checksum field has %04x, not the pseudo header's sum", left);
  const uint16_t sum = static_cast<uint16_t>(~fold(sum16(udp)));
  put16(frame, kEthernet + kIpv4 + 6, sum == 0 ? 0xffff : sum);
}

}  // namespace

bool frame_checksums_ok(std::span<const uint8_t> frame) {
  if (!is_udp(frame)) return false;
  if (fold(sum16(frame.subspan(kEthernet, kIpv4))) != 0xffff) return false;
  const std::span<const uint8_t> udp = udp_of(frame);
  if (udp.empty() || (udp[6] == 0 && udp[7] == 0)) return false;
  return fold(pseudo_header(frame, udp.size()) + sum16(udp)) == 0xffff;
}

SimPort::SimPort(const NicFacts& facts, uint32_t tx_frames) : facts_(facts), tx_slots_(tx_frames) {
  for (TxSlot& slot : tx_slots_) {
    slot.bytes.resize(facts.mtu + kEthernet);
    tx_free_.push_back(&slot);
  }
}

void SimPort::power_cycle() {
  tx_free_.clear();
  for (TxSlot& slot : tx_slots_) {
    slot.lent = false;
    tx_free_.push_back(&slot);
  }
  rx_ring_.clear();
  rx_free_.clear();
  for (RxSlot& slot : rx_slots_) {
    slot.lent = false;
    rx_free_.push_back(&slot);
  }
  tx_out_ = 0;
}

void SimPort::reset() {
  for (RxSlot* slot : rx_ring_) rx_free_.push_back(slot);
  rx_ring_.clear();
  resets_++;
}

void SimPort::frame_arrived(std::span<const uint8_t> bytes) {
  if (!link_is_up_) return;
  if (rx_ring_.size() >= facts_.rx_queue_depth || bytes.size() > facts_.mtu + kEthernet) {
    rx_missed_++;
    return;
  }
  if (rx_free_.empty()) rx_free_.push_back(&rx_slots_.emplace_back());
  RxSlot* slot = rx_free_.back();
  rx_free_.pop_back();
  slot->bytes.assign(bytes.begin(), bytes.end());
  rx_ring_.push_back(slot);
}

size_t SimPort::rx_burst(std::span<RxFrame> frames) {
  SIM_CHECK(frames.size() <= kBurstMax, "port: a burst of %zu", frames.size());
  size_t n = 0;
  while (n < frames.size() && !rx_ring_.empty()) {
    RxSlot* slot = rx_ring_.front();
    rx_ring_.pop_front();
    slot->lent = true;
    frames[n].data = slot->bytes.data();
    frames[n].length = static_cast<uint32_t>(slot->bytes.size());
    frames[n].udp_checksum_ok = facts_.rx_checksum_offload && frame_checksums_ok(slot->bytes);
    frames[n].handle = slot;
    n++;
  }
  return n;
}

void SimPort::rx_release(std::span<const RxFrame> frames) {
  for (const RxFrame& frame : frames) {
    RxSlot* slot = static_cast<RxSlot*>(frame.handle);
    SIM_CHECK(slot->lent, "port: a received frame released twice");
    slot->lent = false;
    slot->bytes.assign(slot->bytes.size(), 0xcc);  // who still reads it reads nonsense
    rx_free_.push_back(slot);
  }
}

size_t SimPort::tx_alloc(std::span<TxFrame> frames) {
  SIM_CHECK(frames.size() <= kBurstMax, "port: %zu frames at once", frames.size());
  size_t n = 0;
  while (n < frames.size() && !tx_free_.empty()) {
    TxSlot* slot = tx_free_.back();
    tx_free_.pop_back();
    slot->lent = true;
    slot->bytes.assign(slot->bytes.size(), 0xab);
    frames[n] = TxFrame{slot->bytes.data(), 0, false, slot};
    tx_out_++;
    n++;
  }
  return n;
}

SimPort::TxSlot* SimPort::take_back(const TxFrame& frame) {
  TxSlot* slot = static_cast<TxSlot*>(frame.handle);
  SIM_CHECK(slot->lent && frame.data == slot->bytes.data(),
            "port: a frame given back that was not lent");
  slot->lent = false;
  tx_free_.push_back(slot);
  tx_out_--;
  return slot;
}

void SimPort::put_on_wire(const TxFrame& frame) {
  SIM_CHECK(frame.length >= kFrameMin && frame.length <= facts_.mtu + kEthernet,
            "port: a frame of %u bytes, the MTU is %u", frame.length, facts_.mtu);
  const std::span<uint8_t> bytes(frame.data, frame.length);
  if (frame.offload_checksum) {
    SIM_CHECK(facts_.tx_checksum_offload, "port: asks for an offload that the NIC does not have");
    complete_checksums(bytes);
  }
  if (!link_is_up_) return;
  if (is_udp(bytes))
    SIM_CHECK(frame_checksums_ok(bytes), "port: a frame leaves with a wrong checksum");
  out_->send(bytes);
}

size_t SimPort::tx_burst(std::span<TxFrame> frames) {
  size_t n = 0;
  while (n < frames.size() && !tx_blocked()) {
    put_on_wire(frames[n]);
    take_back(frames[n]);
    n++;
  }
  return n;
}

void SimPort::tx_free(std::span<const TxFrame> frames) {
  for (const TxFrame& frame : frames) take_back(frame);
}

}  // namespace mn::test
