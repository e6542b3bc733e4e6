// SPDX-License-Identifier: MIT
// NarrowPath: two hosts with a flow, and a path that may take less of what host 0 sends than the
// handshake agreed on. Remembers what host 0 has sent, whatever became of it.
#pragma once

#include <functional>

#include "transport/path_mtu.h"
#include "two_hosts.h"

namespace mn::test {

using wire::PacketHeader;

struct NarrowPath : TwoHosts {
  using Wire = std::deque<Bytes>;
  using Headers = std::vector<PacketHeader>;

  using Kind = transport::CongestionKind;

  explicit NarrowPath(uint16_t mss, Kind congestion = Kind::kFixed)
      : TwoHosts({.buffer_size = mss + 32u}, config_with(1, mss, congestion),
                 config_with(2, mss, congestion)) {}
  static TransportConfig config_with(uint64_t seed, uint16_t mss, Kind congestion) {
    TransportConfig c = config(seed);
    c.mss = mss;
    c.congestion = congestion;
    return c;
  }

  // From now on the path takes packets of so many bytes, our header counted.
  void takes(size_t bytes_max) {
    path = [bytes_max](Wire& wire) {
      std::erase_if(wire, [bytes_max](const Bytes& b) { return b.size() > bytes_max; });
    };
  }
  // And of those no data packets: its probes and parts.
  void takes_no_data(size_t bytes_max) {
    path = [bytes_max](Wire& wire) {
      std::erase_if(wire, [bytes_max](const Bytes& b) {
        return b.size() > bytes_max || header_of(b).type == PacketType::kData;
      });
    };
  }
  // Nothing larger, and no data packets of just this payload: only they are unlucky.
  void eats_data_of(size_t payload) {
    path = [bytes = payload + wire::kHeaderSize](Wire& wire) {
      std::erase_if(wire, [bytes](const Bytes& b) {
        return b.size() > bytes || (b.size() == bytes && header_of(b).type == PacketType::kData);
      });
    };
  }

  // What host 0 has to send goes to its wire; its headers.
  Headers leave() {
    const size_t before = hosts[0]->wire.size();
    poll(0);
    Headers headers;
    for (size_t i = before; i < hosts[0]->wire.size(); i++) {
      headers.push_back(header_of(hosts[0]->wire[i]));
    }
    sent.insert(sent.end(), headers.begin(), headers.end());
    return headers;
  }

  PacketHeader leave_one() {
    assert_true(hosts[0]->transport.poll_transmit(now, view.get()));
    return wire::header_of(std::span(view->header).first<wire::kHeaderSize>());
  }

  // What is on the wire of host 0 arrives, and what host 1 says to it.
  void round_trip() {
    deliver_all(0);
    poll(1);
    deliver_all(1);
  }

  // Packets fly, as far as the path takes them, until nobody has anything to say.
  void exchange() {
    for (int round = 0; round < 100; round++) {
      leave();
      poll(1);
      if (hosts[0]->wire.empty() && hosts[1]->wire.empty()) return;
      if (!hosts[1]->wire.empty()) heard = header_of(hosts[1]->wire.back());
      path(hosts[0]->wire);
      now = now + microseconds(5);
      deliver_all(0);
      deliver_all(1);
      read_all();
    }
  }
  void fly(Duration duration, Duration step = microseconds(50)) {
    const Instant end = now + duration;
    while (now < end) {
      pass(step, false);
      exchange();
    }
  }

  // Nothing flies until then.
  template <typename Done>
  void pass_until(Done done) {
    for (int i = 0; i < 4000; i++) {
      if (done()) return;
      pass(microseconds(50), false);
    }
    fail_msg("time went on for nothing");
  }
  // Until then, before host 0 sends anything else.
  template <typename Done>
  void fly_until(Done done) {
    for (int i = 0; i < 4000; i++) {
      pass(microseconds(50), false);
      if (done()) return;
      exchange();
    }
    fail_msg("packets flew for nothing");
  }

  uint64_t reduced(int host = 0) { return hosts[host]->transport.counters().path_mtu_reduced; }
  uint64_t probes_lost() { return hosts[0]->transport.counters().path_mtu_probes_lost; }
  void fly_until_reduced() {
    fly_until([this, before = reduced()] { return reduced() > before; });
  }
  // Until host 0 is about to send again what was not acknowledged.
  void wait_for_timeout() {
    pass_until([this, before = stats(0).timeouts] { return stats(0).timeouts > before; });
  }

  // A packet of host 1, which expects the packet that it expected when it was heard last.
  void craft(PacketType type, uint8_t flags, uint16_t extra, const Bytes& payload = {}) {
    PacketHeader header = heard;
    header.type = type;
    header.flags = flags;
    header.payload_length = static_cast<uint16_t>(payload.size());
    header.message_count = header.sack_count = 0;
    header.extra = extra;
    Bytes bytes(wire::kHeaderSize);
    wire::encode_packet_header(header, {}, bytes);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    assert_true(arrive(1, bytes) == PacketVerdict::kAccepted);
  }
  void answer(uint8_t flags, uint16_t extra) { craft(PacketType::kAck, flags, extra); }

  std::function<void(Wire&)> path = [](Wire&) {};
  Headers sent;        // by host 0
  PacketHeader heard;  // the last of host 1
};

inline NarrowPath::Headers of_type(const NarrowPath::Headers& headers, PacketType type) {
  NarrowPath::Headers found;
  for (const PacketHeader& header : headers) {
    if (header.type == type) found.push_back(header);
  }
  return found;
}
using Sizes = std::vector<uint16_t>;
// The payloads of the padded probes among them.
inline Sizes probe_sizes(const NarrowPath::Headers& headers) {
  Sizes sizes;
  for (const PacketHeader& header : of_type(headers, PacketType::kProbe)) {
    if (header.payload_length > 0) sizes.push_back(header.payload_length);
  }
  return sizes;
}

constexpr uint16_t kMssJumbo = 8940;

inline NarrowPath* narrow_path(void** state) { return static_cast<NarrowPath*>(*state); }
template <uint16_t mss = 1440, NarrowPath::Kind congestion = NarrowPath::Kind::kFixed>
int make_narrow_path(void** state) {
  auto* path = new NarrowPath(mss, congestion);
  *state = path;
  path->connect();
  return 0;
}
inline int free_narrow_path(void** state) {
  delete narrow_path(state);
  return 0;
}

// Arguments: as of make_narrow_path.
#define MN_PATH_TEST(f, ...)                                                      \
  cmocka_unit_test_setup_teardown(f, (::mn::test::make_narrow_path<__VA_ARGS__>), \
                                  ::mn::test::free_narrow_path)

}  // namespace mn::test
