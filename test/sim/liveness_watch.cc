// SPDX-License-Identifier: MIT
#include "sim/liveness_watch.h"

#include "support/array_store.h"
#include "wire/packet_header.h"

namespace mn::test {
namespace {

using wire::PacketType;

// An answer may wait for a host that polls late and for a link that is slow.
constexpr Duration kAnswerMax = seconds(2);
constexpr Duration kSlack = milliseconds(100);  // between an event and the packet that shows it
constexpr Duration kCloseTimeout = seconds(60);
// Fewer questions than that in dead_timeout are no serious try.
constexpr uint32_t kAskedMin = 15;

bool asks(PacketType type) {
  return type == PacketType::kData || type == PacketType::kPart || type == PacketType::kClose ||
         type == PacketType::kProbe;
}

FourTuple reversed(const FourTuple& t) {
  return {t.remote_ip, t.local_ip, t.remote_port, t.local_port};
}

double ms(Duration d) { return static_cast<double>(d.ns) / 1e6; }

}  // namespace

void LivenessWatch::on_sent(int host, Instant now, const FourTuple& tuple,
                            std::span<const uint8_t> bytes) {
  wire::Packet packet;
  if (wire::parse_packet(bytes, &packet) != wire::ParseStatus::kOk) return;
  const wire::PacketHeader& header = packet.header;
  End& end = end_of(host, tuple);
  end.owes_since = Instant::never();
  wire::Options options;
  if (header.type == PacketType::kOpen || header.type == PacketType::kOpenAck) {
    if (!wire::parse_options(packet.payload, &options) || options.cookie != 0 ||
        (end.valid && end.tag == options.tag)) {
      return;
    }
    end = End{.valid = true, .tag = options.tag, .heard_at = now};
    end.ack_since = end.peer_ack_since = now;
    end.peer_ack = options.first_sequence;
    return;
  }
  if (!end.valid) return;
  if (header.type == PacketType::kReset) {
    end.gone = true;
    return;
  }
  if (asks(header.type)) {
    if (end.waits_since == Instant::never()) end.waits_since = now;
    end.asked++;
  }
  if (header.ack != end.ack) {
    end.ack = header.ack;
    end.ack_since = now;
    end.missing_came = 0;
  }
  if (header.window == 0) end.missing_came = 0;  // for lack of buffers
  const bool takes_number = header.type == PacketType::kData || header.type == PacketType::kPart ||
                            header.type == PacketType::kClose;
  if (takes_number && header.sequence == end.peer_ack) end.peer_missing_sent++;
}

void LivenessWatch::on_received(int host, Instant now, const FourTuple& tuple,
                                std::span<const uint8_t> bytes) {
  wire::Packet packet;
  if (wire::parse_packet(bytes, &packet) != wire::ParseStatus::kOk) return;
  const wire::PacketHeader& header = packet.header;
  End& end = end_of(host, tuple);
  if (!end.valid || header.tag != end.tag || header.type == PacketType::kReset ||
      header.type == PacketType::kOpen || header.type == PacketType::kOpenAck) {
    return;
  }
  end.heard_at = now;
  end.waits_since = Instant::never();
  end.asked = 0;
  if (asks(header.type) && end.owes_since == Instant::never() && !end.gone) {
    end.owes_since = now;
  }
  const bool whole = header.type == PacketType::kData || header.type == PacketType::kClose;
  if (whole && header.sequence == end.ack) {
    end.missing_came++;
  }
  if (header.type == PacketType::kClose) {
    end.close_came = true;
    end.close_sequence = header.sequence;
  }
  if (static_cast<int32_t>(header.ack - end.peer_ack) >= 0) end.may_send = header.window > 0;
  if (static_cast<int32_t>(header.ack - end.peer_ack) > 0) {
    end.peer_ack = header.ack;
    end.peer_ack_since = now;
    end.peer_missing_sent = 0;
  }
}

void LivenessWatch::on_restart(int host) {
  for (auto& [tuple, end] : ends_[host]) {
    end.gone = true;
    end.owes_since = Instant::never();
  }
}

void LivenessWatch::check_given_up(int host, Instant now, const FourTuple& tuple,
                                   Duration dead_timeout) {
  checked_++;
  const End& end = end_of(host, tuple);
  const End& peer = end_of(1 - host, reversed(tuple));
  SIM_CHECK(end.valid, "host %d gives up a flow that never sent a handshake", host);
  if (now - end.peer_ack_since >= kCloseTimeout) return;  // a close that does not get on
  if (end.waits_since != Instant::never() && now - end.waits_since >= dead_timeout) {
    SIM_CHECK(end.asked >= kAskedMin, "host %d gave port %u up after asking %u times in %.0f ms",
              host, tuple.local_port, end.asked, ms(now - end.waits_since));
    SIM_CHECK(peer.owes_since == Instant::never() || now - peer.owes_since < kAnswerMax,
              "host %d was asked on port %u %.0f ms ago and said nothing", 1 - host,
              tuple.remote_port, ms(now - peer.owes_since));
    return;
  }
  const Duration stands = now - end.ack_since;
  SIM_CHECK(stands + kSlack >= dead_timeout,
            "host %d gave port %u up %.0f ms after it heard the peer, %.0f ms after data in order",
            host, tuple.local_port, ms(now - end.heard_at), ms(stands));
  SIM_CHECK(end.missing_came == 0, "host %d gave port %u up for a packet that came %u times", host,
            tuple.local_port, end.missing_came);
  // Who has taken the peer's close sends nothing any more but acknowledgements of it.
  const bool peer_is_over = peer.gone || (peer.close_came && peer.ack == peer.close_sequence + 1);
  // Until this end's ack came through, it knew nothing of what is missing.
  const bool just_told = now - peer.peer_ack_since < kAnswerMax;
  SIM_CHECK(peer_is_over || just_told || !peer.may_send || peer.peer_ack != end.ack ||
                peer.peer_missing_sent > 1,
            "host %d did not send on port %u what the other one was missing", 1 - host,
            tuple.remote_port);
}

}  // namespace mn::test
