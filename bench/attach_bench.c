/* SPDX-License-Identifier: MIT
 * attach_bench: how long machnet_attach, machnet_listen, machnet_connect and machnet_detach take,
 * and how many channels one process can have. Alone it connects to itself through the service's
 * loopback (127.0.0.1); with a remote address to a msg_gen server there.
 *
 *   attach_bench [--channels N] [--remote_ip A.B.C.D --remote_port P] [--local_ip A.B.C.D] [--json]
 */
#include <errno.h>
#include <machnet.h>
#include <string.h>
#include <time.h>

struct Options {
  const char *local_ip, *remote_ip;
  uint16_t remote_port;
  int channels;
  int json;
};

struct Sample {
  const char* what;
  double* ms;
  int count;
};

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare_doubles(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void report(struct Sample* s, int json) {
  if (s->count == 0) return;
  qsort(s->ms, (size_t)s->count, sizeof s->ms[0], compare_doubles);
  const double p50 = s->ms[s->count / 2];
  const double p99 = s->ms[(int)((double)s->count * 0.99)];
  const double max = s->ms[s->count - 1];
  if (json) {
    printf("{\"type\":\"%s\",\"count\":%d,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}\n",
           s->what, s->count, p50, p99, max);
  } else {
    printf("%-8s %6d times: p50 %8.3f  p99 %8.3f  max %8.3f ms\n", s->what, s->count, p50, p99,
           max);
  }
}

static int fail(const char* what, int i) {
  fprintf(stderr, "attach_bench: %s number %d: %s\n", what, i, strerror(errno));
  return 1;
}

static int parse(int argc, char** argv, struct Options* o) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--json") == 0) {
      o->json = 1;
    } else if (i + 1 < argc && strcmp(argv[i], "--channels") == 0) {
      o->channels = atoi(argv[++i]);
    } else if (i + 1 < argc && strcmp(argv[i], "--local_ip") == 0) {
      o->local_ip = argv[++i];
    } else if (i + 1 < argc && strcmp(argv[i], "--remote_ip") == 0) {
      o->remote_ip = argv[++i];
    } else if (i + 1 < argc && strcmp(argv[i], "--remote_port") == 0) {
      o->remote_port = (uint16_t)atoi(argv[++i]);
    } else {
      fprintf(stderr, "attach_bench: unknown or incomplete '%s'\n", argv[i]);
      return 2;
    }
  }
  if (o->channels < 1) {
    fprintf(stderr, "attach_bench: --channels needs a number from 1 on\n");
    return 2;
  }
  return 0;
}

int main(int argc, char** argv) {
  struct Options o = {"0.0.0.0", NULL, 888, 100, 0};
  if (parse(argc, argv, &o) != 0) return 2;
  const size_t n = (size_t)o.channels;
  void** channels = calloc(n, sizeof *channels);
  struct Sample attach = {"attach", calloc(n, sizeof(double)), 0};
  struct Sample connect = {"connect", calloc(n, sizeof(double)), 0};
  struct Sample detach = {"detach", calloc(n, sizeof(double)), 0};
  if (!channels || !attach.ms || !connect.ms || !detach.ms) return fail("memory", 0);
  if (machnet_init() != 0) return fail("machnet_init", 0);

  void* listener = NULL;
  if (o.remote_ip == NULL) {
    listener = machnet_attach();
    if (listener == NULL) return fail("attach", 0);
    o.local_ip = o.remote_ip = "127.0.0.1";
    o.remote_port = 8899;
    if (machnet_listen(listener, o.remote_ip, o.remote_port) != 0) return fail("listen", 0);
  }
  const double start = now_ms();
  int exit_code = 0;
  for (int i = 0; i < o.channels && exit_code == 0; i++) {
    const double t0 = now_ms();
    channels[i] = machnet_attach();
    const double t1 = now_ms();
    if (channels[i] == NULL) {
      exit_code = fail("attach", i);
      break;
    }
    attach.ms[attach.count++] = t1 - t0;
    MachnetFlow_t flow;
    const double t2 = now_ms();
    if (machnet_connect(channels[i], o.local_ip, o.remote_ip, o.remote_port, &flow) != 0) {
      exit_code = fail("connect", i);
    } else {
      connect.ms[connect.count++] = now_ms() - t2;
    }
  }
  const double up = now_ms() - start;
  for (int i = 0; i < o.channels && channels[i] != NULL; i++) {
    const double t0 = now_ms();
    machnet_detach(channels[i]);
    detach.ms[detach.count++] = now_ms() - t0;
  }
  if (listener != NULL) machnet_detach(listener);
  report(&attach, o.json);
  report(&connect, o.json);
  report(&detach, o.json);
  if (!o.json) printf("%d channels, each with a flow, after %.1f ms\n", attach.count, up);
  free(channels);
  free(attach.ms);
  free(connect.ms);
  free(detach.ms);
  return exit_code;
}
