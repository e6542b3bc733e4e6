/* SPDX-License-Identifier: MIT
 * it_app: the application of the integration tests. First argument: what it does. */
#include "it_common.h"

int main(int argc, char** argv) {
  struct ItOptions options;
  if (argc < 2 || !it_parse(argc - 1, argv + 1, &options)) {
    fprintf(stderr, "it_app echo|sink|ping|blast|latency|limits|wait [options]\n");
    return kExitUsage;
  }
  it_catch_signals();
  const char* what = argv[1];
  if (strcmp(what, "echo") == 0) return it_receive_main(&options, true);
  if (strcmp(what, "sink") == 0) return it_receive_main(&options, false);
  if (strcmp(what, "ping") == 0) return it_ping_main(&options);
  if (strcmp(what, "blast") == 0) return it_blast_main(&options);
  return it_probe_main(&options, what);
}
