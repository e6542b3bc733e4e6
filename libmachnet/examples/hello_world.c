/* SPDX-License-Identifier: MIT
 *
 * A greeting between two hosts. Start the server on one and the client on the other (or both on one
 * host, with the address 127.0.0.1):
 *
 *   server$ hello_world --listen 10.0.0.2
 *   client$ hello_world --connect 10.0.0.2
 *
 * The server sleeps in machnet_wait while nobody talks to it; with --spin it polls instead, which
 * answers a few microseconds faster and keeps a CPU busy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <machnet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_PORT = 888, WAIT_MS = 5000 };

static volatile sig_atomic_t stopped;

static void on_signal(int number) {
  (void)number;
  stopped = 1;
}

static int usage(FILE* out, int status) {
  fprintf(
      out,
      "usage: hello_world --listen  LOCAL_IP  [--port N] [--spin] [--count N]\n"
      "       hello_world --connect REMOTE_IP [--port N] [--spin] [--local LOCAL_IP]\n"
      "\n"
      "  --listen   serve: answer every greeting that arrives at this address of ours\n"
      "  --connect  greet the server at this address, print its answer and leave\n"
      "  --local    the address to greet from (default: the service chooses)\n"
      "  --port     the server's port (default %d)\n"
      "  --count    stop after answering so many greetings (default: serve until Ctrl-C)\n"
      "  --spin     poll instead of sleeping while there is nothing to do\n"
      "\n"
      "The Machnet service must run on this host; MACHNET_SOCKET names its socket if it is not\n"
      "/run/machnet/machnet.sock.\n",
      DEFAULT_PORT);
  return status;
}

static int complain(const char* what) {
  fprintf(stderr, "hello_world: %s: %s\n", what, strerror(errno));
  return 1;
}

static void print_message(const char* text, size_t size, const MachnetFlow_t* flow) {
  char from[INET_ADDRSTRLEN];
  struct in_addr address = {.s_addr = htonl(flow->src_ip)};
  inet_ntop(AF_INET, &address, from, sizeof from);
  printf("%s:%u says: %.*s\n", from, flow->src_port, (int)size, text);
  fflush(stdout);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The next message; 0 when it was interrupted or took longer than timeout_ms (-1: for ever). */
static ssize_t receive(void* channel, char* buffer, size_t size, MachnetFlow_t* flow, bool spin,
                       int timeout_ms) {
  const int64_t end = now_ms() + timeout_ms;
  int left = timeout_ms;
  while (!stopped) {
    const ssize_t got = machnet_recv(channel, buffer, size, flow);
    if (got != 0) return got;
    if (timeout_ms >= 0 && (left = (int)(end - now_ms())) <= 0) return 0;
    /* It also returns for what is no message, such as a client that leaves: look again. */
    if (!spin && machnet_wait(channel, left) < 0 && errno != EINTR) return -1;
  }
  return 0;
}

static int serve(void* channel, const char* ip, uint16_t port, bool spin, long count) {
  if (machnet_listen(channel, ip, port) != 0) return complain("cannot listen");
  printf("listening on %s port %u\n", ip, port);
  fflush(stdout);
  for (long answered = 0; count == 0 || answered < count; answered++) {
    char text[1024];
    MachnetFlow_t flow;
    const ssize_t size = receive(channel, text, sizeof text, &flow, spin, -1);
    if (size < 0) return complain("cannot receive");
    if (size == 0) break;
    print_message(text, (size_t)size, &flow);
    /* The message came from flow.src: the answer goes the other way. */
    const MachnetFlow_t back = {.src_ip = flow.dst_ip,
                                .dst_ip = flow.src_ip,
                                .src_port = flow.dst_port,
                                .dst_port = flow.src_port};
    static const char answer[] = "hello to you";
    /* A client that has left again, or takes no answers (EAGAIN), is no reason to stop serving. */
    if (machnet_send(channel, back, answer, sizeof answer - 1) != 0) complain("cannot answer");
  }
  return 0;
}

static int greet(void* channel, const char* local, const char* remote, uint16_t port, bool spin) {
  MachnetFlow_t flow;
  if (machnet_connect(channel, local, remote, port, &flow) != 0) return complain("cannot connect");
  static const char greeting[] = "hello world";
  if (machnet_send(channel, flow, greeting, sizeof greeting - 1) != 0)
    return complain("cannot send");
  char text[1024];
  MachnetFlow_t from;
  const ssize_t size = receive(channel, text, sizeof text, &from, spin, WAIT_MS);
  if (size < 0) return complain("cannot receive");
  if (size == 0) {
    fprintf(stderr, "hello_world: no answer\n");
    return 1;
  }
  print_message(text, (size_t)size, &from);
  return machnet_close(channel, flow) == 0 ? 0 : complain("cannot close");
}

/* A whole number of decimal digits; -1: none. */
static long number(const char* text) {
  char* end;
  const long value = strtol(text, &end, 10);
  return *text == '\0' || *end != '\0' ? -1 : value;
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"listen", required_argument, NULL, 'l'}, {"connect", required_argument, NULL, 'c'},
      {"local", required_argument, NULL, 'L'},  {"port", required_argument, NULL, 'p'},
      {"count", required_argument, NULL, 'n'},  {"spin", no_argument, NULL, 's'},
      {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
  const char *listen_ip = NULL, *remote_ip = NULL, *local_ip = NULL;
  long port = DEFAULT_PORT, count = 0;
  bool spin = false;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
      case 'l':
        listen_ip = optarg;
        break;
      case 'c':
        remote_ip = optarg;
        break;
      case 'L':
        local_ip = optarg;
        break;
      case 'p':
        port = number(optarg);
        break;
      case 'n':
        count = number(optarg);
        break;
      case 's':
        spin = true;
        break;
      case 'h':
        return usage(stdout, 0);
      default:
        return usage(stderr, 2);
    }
  }
  if ((listen_ip == NULL) == (remote_ip == NULL) || optind != argc || port < 1 || port > 65535 ||
      count < 0) {
    return usage(stderr, 2);
  }
  const struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);

  if (machnet_init() != 0) return complain("no Machnet service on this host");
  void* channel = machnet_attach();
  if (channel == NULL) return complain("cannot attach to the service");
  const int status = listen_ip != NULL ? serve(channel, listen_ip, (uint16_t)port, spin, count)
                                       : greet(channel, local_ip, remote_ip, (uint16_t)port, spin);
  if (machnet_detach(channel) != 0 && status == 0) return complain("cannot detach");
  return status;
}
