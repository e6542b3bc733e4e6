/* SPDX-License-Identifier: MIT
 * A program as users of the published API have it, compiled as C and as C++ from this one source.
 * It uses nothing else of the header, and includes no header that the published one brought along.
 * Usage: published_api LOCAL_IP             serves forever
 *        published_api LOCAL_IP REMOTE_IP   sends, checks the answers, exits 0
 */
#include <machnet.h>
#include <string.h>

#define CHECK(condition)                                      \
  do {                                                        \
    if (!(condition)) {                                       \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      exit(1);                                                \
    }                                                         \
  } while (0)

enum { kPort = 31580, kSize = 20000, kRounds = 200 };

static uint8_t tx[kSize], rx[kSize + 1];

static void serve(void* channel, const char* local_ip) {
  CHECK(machnet_listen(channel, local_ip, kPort) == 0);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    MachnetFlow_t flow;
    const ssize_t size = machnet_recv(channel, rx, sizeof(rx), &flow);
    CHECK(size >= 0);
    if (size == 0) {
      usleep(10);
      continue;
    }
    MachnetFlow_t answer;
    answer.src_ip = flow.dst_ip;
    answer.dst_ip = flow.src_ip;
    answer.src_port = flow.dst_port;
    answer.dst_port = flow.src_port;
    while (machnet_send(channel, answer, rx, (size_t)size) != 0) usleep(10);
  }
}

/* Receives one message in two pieces and compares it with `size` bytes of tx. */
static void expect_echo(void* channel, MachnetFlow_t flow, size_t size) {
  MachnetIovec_t pieces[2];
  pieces[0].base = rx;
  pieces[0].len = 10;
  pieces[1].base = rx + 10;
  pieces[1].len = sizeof(rx) - 10;
  MachnetMsgHdr_t header;
  memset(&header, 0, sizeof(header));
  header.msg_iov = pieces;
  header.msg_iovlen = 2;
  int got = 0;
  for (int i = 0; i < 1000000 && got == 0; i++) {
    got = machnet_recvmsg(channel, &header);
    if (got == 0) usleep(10);
  }
  CHECK(got == 1);
  CHECK(header.msg_size == size);
  CHECK(header.flow_info.src_ip == flow.dst_ip && header.flow_info.dst_ip == flow.src_ip);
  CHECK(header.flow_info.src_port == flow.dst_port && header.flow_info.dst_port == flow.src_port);
  CHECK(memcmp(rx, tx, size) == 0);
}

static void request(void* channel, const char* local_ip, const char* remote_ip) {
  MachnetFlow_t flow;
  CHECK(machnet_connect(channel, local_ip, remote_ip, kPort, &flow) == 0);
  CHECK(flow.dst_port == kPort);
  for (int round = 0; round < kRounds; round++) {
    const size_t size = 1 + (size_t)round * 97;
    for (size_t i = 0; i < size; i++) tx[i] = (uint8_t)(i * 7 + (size_t)round);

    MachnetIovec_t pieces[3];
    pieces[0].base = tx;
    pieces[0].len = size / 3;
    pieces[1].base = tx + size / 3;
    pieces[1].len = 0;
    pieces[2].base = tx + size / 3;
    pieces[2].len = size - size / 3;
    MachnetMsgHdr_t headers[2];
    memset(headers, 0, sizeof(headers));
    for (int i = 0; i < 2; i++) {
      headers[i].msg_size = (uint32_t)size;
      headers[i].flow_info = flow;
      headers[i].msg_iov = pieces;
      headers[i].msg_iovlen = 3;
    }
    CHECK(machnet_send(channel, flow, tx, size) == 0);
    CHECK(machnet_sendmsg(channel, &headers[0]) == 0);
    CHECK(machnet_sendmmsg(channel, headers, 2) >= 0);
    for (int i = 0; i < 4; i++) expect_echo(channel, flow, size);
  }
  MachnetFlow_t from;
  CHECK(machnet_recv(channel, rx, sizeof(rx), &from) == 0);
  CHECK(machnet_send(channel, flow, tx, 0) == -1);
}

int main(int argc, char** argv) {
  CHECK(argc >= 2);
  CHECK(machnet_init() == 0);
  void* channel = machnet_attach();
  CHECK(channel != NULL);
  if (argc == 2) serve(channel, argv[1]);
  request(channel, argv[1], argv[2]);
  printf("ok\n");
  return 0;
}
