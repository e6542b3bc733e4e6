// SPDX-License-Identifier: MIT
#include "channel/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <memory>
extern "C" {
#include <cmocka.h>
}

using mn::Channel;

namespace {

struct Fixture {
  std::unique_ptr<Channel> channel;
};

int setup(void** state) {
  const mn::ipc::LaneShape shapes[] = {mn::lane_shape_for(1440), mn::lane_shape_for(8940)};
  auto made = Channel::create(shapes);
  if (!made.ok()) return -1;
  *state = new Fixture{std::move(made.value())};
  return 0;
}

int teardown(void** state) {
  delete static_cast<Fixture*>(*state);
  return 0;
}

void create__memory_cannot_be_resized(void** state) {
  const Channel& channel = *static_cast<Fixture*>(*state)->channel;
  struct stat status;
  assert_int_equal(fstat(channel.memory_fd(), &status), 0);
  assert_int_equal(status.st_size, channel.memory_size());
  assert_int_equal(ftruncate(channel.memory_fd(), 0), -1);
  assert_int_equal(errno, EPERM);
  assert_int_equal(ftruncate(channel.memory_fd(), status.st_size * 2), -1);
  assert_int_equal(fcntl(channel.memory_fd(), F_GET_SEALS),
                   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

void create__the_doorbell_rings_one_way(void** state) {
  const Channel& channel = *static_cast<Fixture*>(*state)->channel;
  assert_int_equal(send(channel.application_fd(), "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
  assert_int_equal(errno, EPIPE);
  pollfd bell{channel.application_fd(), POLLIN, 0};
  assert_int_equal(poll(&bell, 1, 0), 0);  // nor does it look like the service's end
}

void create__size_follows_from_the_shapes(void** state) {
  const Channel& channel = *static_cast<Fixture*>(*state)->channel;
  assert_int_equal(channel.lane_count(), 2);
  const mn::ipc::LaneShape shapes[] = {channel.shape(0), channel.shape(1)};
  assert_int_equal(mn::ipc::channel_size(shapes, 2), channel.memory_size());
}

void lane_shape_for__longest_message_fits_every_mtu(void**) {
  for (uint32_t mss = 500; mss <= 32000; mss += 97) {
    const mn::ipc::LaneShape shape = mn::lane_shape_for(static_cast<uint16_t>(mss));
    assert_true(mn::ipc::lane_shape_ok(shape));
    assert_true(shape.buffer_size >= mss);
    assert_true(uint64_t{shape.tx_buffers} * shape.buffer_size >= mn::ipc::kMessageBytesMax);
  }
}

void layout__regions_do_not_overlap_and_rings_hold_all_tokens(void**) {
  for (uint32_t mss : {500u, 1440u, 3460u, 8940u}) {
    const mn::ipc::LaneShape s = mn::lane_shape_for(static_cast<uint16_t>(mss));
    const mn::ipc::LaneOffsets o = mn::ipc::lane_offsets(s);
    assert_true(o.submit >= sizeof(mn::ipc::LaneHeader));
    assert_true(o.complete >= o.submit + uint64_t{mn::ipc::submit_capacity(s)} * 16);
    assert_true(o.deliver >= o.complete + uint64_t{mn::ipc::complete_capacity(s)} * 4);
    assert_true(o.release >= o.deliver + uint64_t{mn::ipc::deliver_capacity(s)} * 16);
    assert_true(o.flows >= o.release + uint64_t{mn::ipc::release_capacity(s)} * 4);
    assert_true(o.tx_data >= o.flows + uint64_t{s.flow_slots} * sizeof(mn::ipc::FlowSlot));
    assert_true(o.rx_data >= o.tx_data + uint64_t{s.tx_buffers} * s.buffer_size);
    assert_true(o.size >= o.rx_data + uint64_t{s.rx_buffers} * s.buffer_size);
    assert_true(mn::ipc::submit_capacity(s) >= s.tx_buffers + s.flow_slots);
    assert_true(mn::ipc::deliver_capacity(s) >= s.rx_buffers + 2 * s.flow_slots);
    assert_true(mn::ipc::release_capacity(s) >= s.rx_buffers + s.flow_slots);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(create__memory_cannot_be_resized, setup, teardown),
      cmocka_unit_test_setup_teardown(create__the_doorbell_rings_one_way, setup, teardown),
      cmocka_unit_test_setup_teardown(create__size_follows_from_the_shapes, setup, teardown),
      cmocka_unit_test(lane_shape_for__longest_message_fits_every_mtu),
      cmocka_unit_test(layout__regions_do_not_overlap_and_rings_hold_all_tokens),
  };
  return cmocka_run_group_tests_name("channel", tests, nullptr, nullptr);
}
