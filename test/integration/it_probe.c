/* SPDX-License-Identifier: MIT
 * `latency`: how long attach, connect and detach take. `wait`: blocks for ever on an idle channel.
 * `limits`: what the calls refuse. */
#include "it_common.h"

static int compare_doubles(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

enum { kRounds = 50 };

static void print_times(const char* what, double* us) {
  qsort(us, kRounds, sizeof(*us), compare_doubles);
  printf("%s_us p50 %.0f p90 %.0f max %.0f\n", what, us[kRounds / 2], us[kRounds * 9 / 10],
         us[kRounds - 1]);
}

static int latency(const struct ItOptions* options) {
  static double attach_us[kRounds], connect_us[kRounds], detach_us[kRounds];
  const char* local = options->local_ip != NULL ? options->local_ip : "0.0.0.0";
  for (int i = 0; i < kRounds; i++) {
    const uint64_t start = it_now_ns();
    void* channel = machnet_attach();
    if (channel == NULL) return it_call_failed("machnet_attach");
    const uint64_t attached = it_now_ns();
    MachnetFlow_t flow;
    if (machnet_connect(channel, local, options->remote_ip, options->port, &flow) != 0) {
      return it_call_failed("machnet_connect");
    }
    const uint64_t connected = it_now_ns();
    if (machnet_detach(channel) != 0) return it_call_failed("machnet_detach");
    attach_us[i] = (double)(attached - start) / 1e3;
    connect_us[i] = (double)(connected - attached) / 1e3;
    detach_us[i] = (double)(it_now_ns() - connected) / 1e3;
  }
  print_times("attach", attach_us);
  print_times("connect", connect_us);
  print_times("detach", detach_us);
  return 0;
}

static int wait_for_ever(void) {
  void* channel = machnet_attach();
  if (channel == NULL) return it_call_failed("machnet_attach");
  printf("ready\n");
  fflush(stdout);
  while (!it_stop) {
    if (machnet_wait(channel, -1) < 0 && errno != EINTR) return it_call_failed("machnet_wait");
    MachnetFlow_t flow;
    char buffer[64];
    if (machnet_recv(channel, buffer, sizeof(buffer), &flow) < 0) {
      const int rc = it_call_failed("machnet_recv");
      /* Later calls fail at once, too. */
      const uint64_t start = it_now_ns();
      if (machnet_wait(channel, 5000) != -1) return kExitWrong;
      if (machnet_listen(channel, "0.0.0.0", 77) != -1) return kExitWrong;
      if (it_now_ns() - start > 100000000u) return kExitStalled;
      return rc;
    }
  }
  return machnet_detach(channel) == 0 ? 0 : it_call_failed("machnet_detach");
}

#define EXPECT_REFUSED(call, error)                                                    \
  do {                                                                                 \
    errno = 0;                                                                         \
    if ((call) != -1 || errno != (error)) {                                            \
      printf("%s: expected %s, errno is %s\n", #call, #error, strerrorname_np(errno)); \
      wrong = 1;                                                                       \
    }                                                                                  \
  } while (0)

static int limits(const struct ItOptions* options) {
  int wrong = 0;
  MachnetFlow_t flow, none = {1, 2, 3, 4};
  char byte = 0;
  char* huge = calloc(1, MACHNET_MSG_MAX_LEN + 1);
  void* channel = machnet_attach();
  void* other = machnet_attach();
  if (huge == NULL || channel == NULL || other == NULL) return it_call_failed("machnet_attach");
  const char* local = options->local_ip != NULL ? options->local_ip : "0.0.0.0";
  if (machnet_connect(channel, local, options->remote_ip, options->port, &flow) != 0) {
    return it_call_failed("machnet_connect");
  }
  EXPECT_REFUSED(machnet_send(channel, flow, &byte, 0), EINVAL);
  EXPECT_REFUSED(machnet_send(channel, flow, huge, MACHNET_MSG_MAX_LEN + 1), EMSGSIZE);
  if (machnet_send(channel, none, &byte, 1) != -1) wrong = 1; /* no such flow */
  if (machnet_send(other, flow, &byte, 1) != -1) wrong = 1;   /* another channel's flow */
  if (machnet_close(other, flow) != -1) wrong = 1;
  EXPECT_REFUSED(machnet_connect(channel, local, options->remote_ip, 1, &none), ECONNREFUSED);
  EXPECT_REFUSED(machnet_connect(channel, local, "not an address", 1, &none), EINVAL);
  if (machnet_listen(channel, "0.0.0.0", 7001) != 0) return it_call_failed("machnet_listen");
  EXPECT_REFUSED(machnet_listen(other, "0.0.0.0", 7001), EADDRINUSE);
  if (machnet_unlisten(channel, "0.0.0.0", 7001) != 0) return it_call_failed("machnet_unlisten");
  if (machnet_listen(other, "0.0.0.0", 7001) != 0) return it_call_failed("machnet_listen again");
  if (machnet_detach(channel) != 0 || machnet_detach(other) != 0) {
    return it_call_failed("machnet_detach");
  }
  free(huge);
  return wrong ? kExitWrong : 0;
}

int it_probe_main(const struct ItOptions* options, const char* what) {
  if (machnet_init() != 0) return it_call_failed("machnet_init");
  if (strcmp(what, "latency") == 0) return latency(options);
  if (strcmp(what, "limits") == 0) return limits(options);
  return wait_for_ever();
}
