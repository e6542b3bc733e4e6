/* SPDX-License-Identifier: MIT
 *
 * What the programs of the integration tests share: options, clocks, and messages whose every byte
 * follows from the sending flow's port and the message's number, so that each receiver can tell a
 * lost, repeated, reordered or damaged message without being told what was sent. Uses nothing but
 * machnet.h.
 *
 * Exit codes of the programs: 0 as expected, 1 wrong bytes or order, 2 no progress in time, 3 a
 * call failed (printed as "error CALL ERRNO"), 4 a flow ended (printed as "event TYPE ..."), 64
 * usage.
 */
#ifndef MACHNET_TEST_INTEGRATION_IT_COMMON_H
#define MACHNET_TEST_INTEGRATION_IT_COMMON_H

#include <errno.h>
#include <inttypes.h>
#include <machnet.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

enum {
  kExitWrong = 1,
  kExitStalled = 2,
  kExitCallFailed = 3,
  kExitFlowEnded = 4,
  kExitUsage = 64,
};

struct ItOptions {
  const char* remote_ip;
  const char* local_ip;
  uint16_t port;
  size_t size;    /* bytes of a message; with `mixed` the most */
  uint64_t count; /* messages per flow */
  unsigned flows;
  unsigned window;     /* messages in flight per flow */
  unsigned delay_us;   /* a receiver's work per message */
  uint64_t stop_after; /* a receiver stops reading after so many messages, until SIGUSR1 */
  double seconds;
  double stall_seconds; /* no progress for so long: exit 2 */
  bool mixed;           /* sizes from 1 to `size` */
  bool views;           /* receive without a copy */
  bool buffers;         /* send without a copy */
};

bool it_parse(int argc, char** argv, struct ItOptions* ret_options);

uint64_t it_now_ns(void);
size_t it_message_size(const struct ItOptions* options, uint64_t number);
void it_fill(uint16_t port, uint64_t number, size_t offset, void* bytes, size_t len);
/* `offset`: where in the message the bytes stand; a multiple of 8. */
bool it_check(uint16_t port, uint64_t number, size_t offset, const void* bytes, size_t len);

/* Prints "error CALL ERRNO" and returns kExitCallFailed. */
int it_call_failed(const char* call);
void it_print_event(const MachnetEvent_t* event);

/* Set by SIGTERM and SIGINT; by SIGUSR1. */
extern volatile sig_atomic_t it_stop, it_resume;
void it_catch_signals(void);

int it_receive_main(const struct ItOptions* options, bool echo);
int it_ping_main(const struct ItOptions* options);
int it_blast_main(const struct ItOptions* options);
int it_probe_main(const struct ItOptions* options, const char* what);

#endif
