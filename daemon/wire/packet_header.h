// SPDX-License-Identifier: MIT
// Machnet's packet header: the 32 bytes after UDP, in network byte order on the cable, as plain
// values here. Ethernet 14 + IPv4 20 + UDP 8 + 32 = 74, and 94 with IPv6: within the 96 bytes that
// AWS ENA pushes inline. parse_packet checks everything that can be checked without knowing the
// flow.
//
//   offset size field
//   0      1    version (high 4 bits) and type (low 4 bits)
//   1      1    flags
//   2      2    window: packets the sender of this packet can take from `ack` on
//   4      4    tag: the receiver's verification tag of this flow (as in SCTP, RFC 9260 section
//               8.5), random for each life of a flow; 0 in kOpen; the sender's own in a reset
//               with kFlagReflected
//   8      4    sequence: number of this data packet; of the next one in packets that carry no data
//   12     4    ack: next data packet expected (cumulative)
//   16     4    timestamp: sender's clock, units of 32 ns
//   20     4    echo: `timestamp` of the packet that made the sender of this one set its ack
//   24     2    echo_delay: how long it was held before this packet, units of 1 us, saturating
//   26     2    payload_length: bytes after header and SACK ranges
//   28     1    message_count: whole messages in a bundle; 0 if the packet is no bundle
//   29     1    sack_count: ranges that follow the header, 4 bytes each
//   30     2    extra: kPart: where in the bytes of the messages of packet `sequence` this payload
//               begins; kAck with kFlagMore: how many of those bytes of packet `ack` have come;
//               other kAck: payload bytes of a kProbe that came, 0: none; kData, kClose,
//               kProbe: packets beyond `ack` that came and for whose ranges there was no room. In
//               others reserved: 0 when sent, ignored when received (room for an authentication key
//               index; the tag itself would be a trailer)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mn::wire {

constexpr uint8_t kVersion = 1;
constexpr size_t kHeaderSize = 32;
constexpr size_t kSackRangesMax = 16;
constexpr size_t kSackRangeSize = 4;

enum class PacketType : uint8_t {
  kOpen = 1,     // handshake request, carries Options
  kOpenAck = 2,  // handshake reply, carries Options
  kData = 3,     // one segment, or a bundle of whole messages; takes a sequence number
  kAck = 4,      // nothing but ack, window and SACK
  kClose = 5,    // end of the sender's data; takes a sequence number
  kReset = 6,    // the flow is gone
  kProbe = 7,    // asks for an ack: keep-alive and closed-window probe; takes no sequence number.
                 // Any payload is padding: does the path take so much?
  kPart = 8,     // of data packet `sequence`, which was too large for the path: bytes of one of its
                 // messages, or some of them as a bundle; taken in order, of the packet expected
                 // next; only for a peer with kFeatureParts
};

enum PacketFlag : uint8_t {
  kFlagFirst = 1,      // the payload begins a message
  kFlagLast = 2,       // the payload ends a message
  kFlagAckNow = 4,     // no delay of the ack, please (tail probe, last packet of a full window)
  kFlagReflected = 8,  // reset: `tag` is the one of the packet that found no flow
  kFlagMore = 16,      // part: packet `sequence` goes on after this payload; ack: of packet `ack`
                       // parts have come
};

// A run of data packets received beyond `ack`: first = ack + start, `count` of them.
struct SackRange {
  uint16_t start;  // > 0
  uint16_t count;  // > 0
};

struct PacketHeader {
  PacketType type = PacketType::kAck;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint32_t tag = 0;
  uint32_t sequence = 0;
  uint32_t ack = 0;
  uint32_t timestamp = 0;
  uint32_t echo = 0;
  uint16_t echo_delay = 0;
  uint16_t payload_length = 0;
  uint8_t message_count = 0;
  uint8_t sack_count = 0;
  uint16_t extra = 0;
};

// A parsed packet: header, SACK ranges by value, payload as a view into the caller's bytes.
struct Packet {
  PacketHeader header;
  std::array<SackRange, kSackRangesMax> sack;
  std::span<const uint8_t> payload;
};

enum class ParseStatus : uint8_t { kOk, kMalformed, kOtherVersion };

// `bytes`: the UDP payload exactly. Checks: version, known type and flags, lengths (header + SACK +
// payload = size), SACK ranges ascending with gaps between them and within 16 bits; kFlagFirst,
// kFlagLast and messages only in kData and kPart, kFlagMore only in kPart and kAck, kFlagReflected
// only in kReset, no SACK in handshakes and resets, tag 0 in kOpen; kData and kPart have payload, a
// bundle's table (bundle.h) is right and has kFlagFirst | kFlagLast, handshakes carry good options,
// kProbe may have a payload, other types none. On kMalformed and kOtherVersion *ret_packet holds
// nothing of use.
ParseStatus parse_packet(std::span<const uint8_t> bytes, Packet* ret_packet);

// The header of a packet that was parsed or encoded here: nothing is checked again.
PacketHeader header_of(std::span<const uint8_t, kHeaderSize> packet);

// Whose packet it might be, before anything of it was checked: the receiver's tag. False: it has
// none of the receiver's (kOpen, a reset with kFlagReflected), or is no packet of ours.
bool peek_tag(std::span<const uint8_t> bytes, uint32_t* ret_tag);

// `sack` has header.sack_count ranges. Writes header and SACK ranges; returns the bytes written
// (kHeaderSize + 4 * sack_count).
size_t encode_packet_header(const PacketHeader& header, std::span<const SackRange> sack,
                            std::span<uint8_t> out);

// In a header that was encoded: in few packets it is not 0.
void set_extra(uint16_t extra, std::span<uint8_t> header);

// Least mss that is accepted: a peer must not make us send its data byte by byte.
constexpr uint16_t kMssMin = 64;

// Handshake options: the payload of kOpen and kOpenAck. 32 bytes, more may follow and are ignored
// (length tells), so later versions can add.
//
//   offset size field
//   0      1    version_min, at least 1
//   1      1    version_max
//   2      2    mss
//   4      4    tag
//   8      4    first_sequence
//   12     4    features
//   16     2    window
//   18     2    engine: the sender's that has the flow, among those of its NIC
//   20     4    reserved: 0 when sent, ignored when received
//   24     8    cookie
struct Options {
  uint8_t version_min = kVersion;
  uint8_t version_max = kVersion;
  uint16_t mss = 0;             // most payload bytes the sender can receive in one packet
  uint32_t tag = 0;             // what the receiver of this must put in `tag` from now on; not 0
  uint32_t first_sequence = 0;  // of the sender's first data packet
  uint32_t features = 0;        // bit set; both sides use the intersection
  uint16_t window = 0;          // packets
  uint16_t engine = 0;
  uint64_t cookie = 0;  // kOpenAck gives, a repeated kOpen returns; 0: none
};
constexpr size_t kOptionsSize = 32;

// Of Options::features: answers padded probes and takes parts. A host that does not would look like
// a path that eats large packets.
constexpr uint32_t kFeatureParts = 1;
// Takes datagrams with packets of several flows (datagram.h).
constexpr uint32_t kFeatureCoalescing = 2;

// False: too short, an impossible version range, mss below kMssMin or tag 0.
bool parse_options(std::span<const uint8_t> payload, Options* ret_options);
void encode_options(const Options& options, std::span<uint8_t, kOptionsSize> out);

}  // namespace mn::wire
