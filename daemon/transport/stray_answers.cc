// SPDX-License-Identifier: MIT
#include "transport/stray_answers.h"

#include <algorithm>

#include "transport/flow.h"
#include "transport/transport.h"

namespace mn::transport {

void StrayAnswers::push(const Waiting& answer) {
  if (count_ == kWaitingMax) return;
  waiting_[(head_ + count_) % kWaitingMax] = answer;
  count_++;
}

void StrayAnswers::queue_reset(Instant now, const StrayReset& reset) {
  const int64_t earned = (now - refilled_at_).ns / kInterval.ns;
  if (earned > 0) {
    tokens_ = static_cast<uint32_t>(std::min<int64_t>(kBurst, tokens_ + earned));
    refilled_at_ = now;
  }
  if (tokens_ == 0 || count_ == kWaitingMax) return;
  tokens_--;
  push({.tuple = reset.tuple,
        .path = reset.path,
        .tag = reset.tag,
        .number = reset.sequence,
        .flags = reset.flags,
        .cookie = 0});
}

void StrayAnswers::queue_cookie(const StrayCookie& cookie) {
  push({.tuple = cookie.tuple,
        .path = cookie.path,
        .tag = cookie.tag,
        .number = cookie.ack,
        .flags = 0,
        .cookie = cookie.cookie});
}

void StrayAnswers::transmit(Instant now, uint16_t mss, TransmitView* view) {
  MN_ASSERT(count_ > 0);
  const Waiting& answer = waiting_[head_];
  head_ = (head_ + 1) % kWaitingMax;
  count_--;
  view->tuple = answer.tuple;
  view->path = answer.path;
  view->path_in_doubt = false;
  view->flow = kNoHandle;
  view->datagram_max = 0;
  view->table_size = view->piece_count = 0;
  wire::PacketHeader header{.type = wire::PacketType::kReset,
                            .flags = answer.flags,
                            .tag = answer.tag,
                            .sequence = answer.number,
                            .timestamp = timestamp_of(now),
                            .echo_delay = UINT16_MAX};
  if (answer.cookie == 0) {
    view->header_size = wire::encode_packet_header(header, {}, view->header);
    return;
  }
  header.type = wire::PacketType::kOpenAck;
  header.sequence = 0;
  header.ack = answer.number;
  header.payload_length = wire::kOptionsSize;
  const size_t size = wire::encode_packet_header(header, {}, view->header);
  // Nothing is agreed yet: the opener looks at the cookie only.
  const wire::Options options{.mss = mss, .tag = 1, .cookie = answer.cookie};
  wire::encode_options(options, std::span(view->header).subspan(size).first<wire::kOptionsSize>());
  view->header_size = size + wire::kOptionsSize;
}

}  // namespace mn::transport
