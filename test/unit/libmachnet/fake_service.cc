// SPDX-License-Identifier: MIT
#include "fake_service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_daemon.h"

namespace mn::client {

void FakeService::start() {
  strcpy(directory, "/tmp/machnet-test-XXXXXX");
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/socket", directory);
  setenv(ipc::kSocketEnvironment, path, 1);
  listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, path);
  assert_int_equal(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  assert_int_equal(listen(listener, 8), 0);
  assert_int_equal(pthread_create(&thread, nullptr, run, this), 0);
}

void FakeService::stop() {
  shutdown(listener, SHUT_RDWR);
  if (connection >= 0) shutdown(connection, SHUT_RDWR);
  pthread_join(thread, nullptr);
  close(listener);
  unlink(path);
  rmdir(directory);
}

void* FakeService::run(void* self) {
  FakeService* service = static_cast<FakeService*>(self);
  for (;;) {
    service->connection = accept4(service->listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (service->connection < 0) return nullptr;
    service->serve();
    const int fd = service->connection;
    service->connection = -1;
    close(fd);
  }
}

void FakeService::serve() {
  ipc::ControlMessage message;
  while (recv(connection, &message, sizeof message, 0) == sizeof message) {
    last = message;
    requests[message.header.type & 15]++;
    if (silent) continue;
    if (hang_up && message.header.type != ipc::kControlHello) return;
    reply(message);
  }
}

uint32_t FakeService::make_channel(ipc::ChannelInfo* info, int* fds) {
  *info = {};
  info->lane_count = lane_count;
  for (uint32_t i = 0; i < lane_count && i < ipc::kLanesMax; i++) info->lanes[i] = shape;
  info->memory_size = ipc::lane_shape_ok(shape) && lane_count <= ipc::kLanesMax
                          ? ipc::channel_size(info->lanes, lane_count)
                          : 4096;
  fds[0] = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const ipc::ChannelHeader header = {ipc::kChannelMagic, ipc::kChannelVersion, lane_count, {}};
  if (ftruncate(fds[0], static_cast<off_t>(info->memory_size - missing_bytes)) != 0 ||
      pwrite(fds[0], &header, sizeof header, 0) != sizeof header) {
    abort();
  }
  if (seal) fcntl(fds[0], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  const uint32_t count = 2 + (lane_count <= ipc::kLanesMax ? lane_count : 0);
  for (uint32_t i = 1; i < count; i++) fds[i] = eventfd(0, EFD_CLOEXEC);
  return count;
}

void FakeService::reply(ipc::ControlMessage message) {
  int fds[ipc::kDescriptorsMax];
  uint32_t fd_count = 0;
  if (message.header.type == ipc::kControlHello) {
    message.hello = {version, version, 0};
  } else if (error != 0 && (error_type == 0 || error_type == message.header.type)) {
    message.header.error = error;
  } else if (message.header.type == ipc::kControlAttach) {
    fd_count = make_channel(&message.channel, fds);
  } else if (message.header.type == ipc::kControlConnect) {
    message.flow = {0,    ipc::flow_ref(1, 1),        0x0a000001, message.connect.remote_ip,
                    1001, message.connect.remote_port};
  } else if (message.header.type == ipc::kControlFlowStats) {
    message.flow_stats = {};
    message.flow_stats.tx_messages = 11;
    message.flow_stats.mss = 1460;
  }
  message.header.magic = magic;
  if (stale_first && message.header.type != ipc::kControlHello) {
    ipc::ControlMessage stale = message;
    stale.header.sequence--;
    stale.header.type = ipc::kControlConnect;
    stale.flow = {0, ipc::flow_ref(5, 1), 0x0a000001, 0x0a000002, 5005, 7};
    send(connection, &stale, sizeof stale, MSG_NOSIGNAL);
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  iovec piece = {.iov_base = &message, .iov_len = reply_size};
  msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  const uint32_t sent = fd_count > missing_descriptors ? fd_count - missing_descriptors : 0;
  if (sent > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sent * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sent * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, sent * sizeof(int));
  }
  sendmsg(connection, &header, MSG_NOSIGNAL);
  for (uint32_t i = 0; i < fd_count; i++) close(fds[i]);
}

int setup_service(void** state) {
  FakeService* service = new FakeService;
  service->start();
  *state = service;
  return 0;
}

int teardown_service(void** state) {
  FakeService* service = static_cast<FakeService*>(*state);
  service->stop();
  delete service;
  return 0;
}

}  // namespace mn::client
