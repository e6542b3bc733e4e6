/* SPDX-License-Identifier: MIT
 *
 * xdp_loss OBJECT [--drop PPM] [--corrupt PPM] [--mtu BYTES] IF [IF2]: attaches xdp_loss.bpf.c to
 * an interface, or to two that it joins into one cable; prints "ready", and on SIGTERM detaches and
 * prints the counts.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Constants { /* the order of the object's constants */
  uint32_t drop_ppm, corrupt_ppm, out_ifindex, mtu;
};

static int quiet(enum libbpf_print_level level, const char* format, va_list arguments) {
  return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static struct bpf_object* attach(const char* path, unsigned ifindex, struct Constants constants) {
  struct bpf_object* object = bpf_object__open(path);
  struct bpf_map* map;
  if (object == NULL) return NULL;
  bpf_object__for_each_map(map, object) {
    if (strstr(bpf_map__name(map), ".rodata") != NULL &&
        bpf_map__set_initial_value(map, &constants, sizeof(constants)) != 0) {
      return NULL;
    }
  }
  if (bpf_object__load(object) != 0) return NULL;
  struct bpf_program* program = bpf_object__find_program_by_name(object, "xdp_loss");
  /* Generic mode: it redirects between any two interfaces, whatever stands behind them. */
  if (bpf_xdp_attach((int)ifindex, bpf_program__fd(program), XDP_FLAGS_SKB_MODE, NULL) != 0) {
    return NULL;
  }
  return object;
}

int main(int argc, char** argv) {
  static const struct option kOptions[] = {{"drop", required_argument, NULL, 'd'},
                                           {"corrupt", required_argument, NULL, 'c'},
                                           {"mtu", required_argument, NULL, 'm'},
                                           {NULL, 0, NULL, 0}};
  struct Constants constants = {0, 0, 0, 0};
  int option;
  while ((option = getopt_long(argc, argv, "", kOptions, NULL)) != -1) {
    if (option == 'd') constants.drop_ppm = (uint32_t)atoi(optarg);
    if (option == 'c') constants.corrupt_ppm = (uint32_t)atoi(optarg);
    if (option == 'm') constants.mtu = (uint32_t)atoi(optarg);
    if (option == '?') return 64;
  }
  const int interfaces = argc - optind - 1;
  if (interfaces < 1 || interfaces > 2) return 64;

  sigset_t set; /* blocked before anything is attached: nothing stays behind */
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, NULL);
  libbpf_set_print(quiet);

  struct bpf_object* objects[2];
  unsigned ifindex[2] = {0, 0};
  for (int i = 0; i < interfaces; i++) ifindex[i] = if_nametoindex(argv[optind + 1 + i]);
  for (int i = 0; i < interfaces; i++) {
    constants.out_ifindex = interfaces == 2 ? ifindex[1 - i] : 0;
    objects[i] = attach(argv[optind], ifindex[i], constants);
    if (objects[i] == NULL) {
      fprintf(stderr, "xdp_loss: %s: %s\n", argv[optind + 1 + i], strerror(errno));
      return 1;
    }
  }
  printf("ready\n");
  fflush(stdout);
  int received;
  sigwait(&set, &received);

  uint64_t totals[3] = {0, 0, 0};
  for (int i = 0; i < interfaces; i++) {
    bpf_xdp_detach((int)ifindex[i], XDP_FLAGS_SKB_MODE, NULL);
    struct bpf_map* counts = bpf_object__find_map_by_name(objects[i], "counts");
    for (uint32_t key = 0; key < 3; key++) {
      uint64_t value = 0;
      bpf_map__lookup_elem(counts, &key, sizeof(key), &value, sizeof(value), 0);
      totals[key] += value;
    }
    bpf_object__close(objects[i]);
  }
  printf("passed %lu dropped %lu corrupted %lu\n", (unsigned long)totals[0],
         (unsigned long)totals[1], (unsigned long)totals[2]);
  return 0;
}
