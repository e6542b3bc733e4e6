// SPDX-License-Identifier: MIT
// stage_cost: what a request-response costs, stage by stage, without the scheduler in it: one
// thread drives two applications, two channels, two engines and a lossless wire. Time comes from
// the processor's cycle counter; instructions from callgrind, which bench/callgrind.sh runs over
// this program (each stage is a function that is not inlined, so that it shows up there).
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "libmachnet/tools/flags.h"
#include "libmachnet/tools/inbox.h"
#include "libmachnet/tools/run_loop.h"
#include "stage_bed.h"

namespace mn::bench {
namespace {

constexpr size_t kBatchMax = 32;
constexpr uint64_t kFlowStride = 7919;         // a prime
constexpr size_t kServerBytesMax = 32 * 1024;  // as in msg_gen

enum Stage {
  kClientSend,
  kClientEngineOut,
  kServerEngineIn,
  kServer,
  kServerEngineOut,
  kClientEngineIn,
  kClientReceive,
  kStages
};
constexpr const char* kStageNames[kStages] = {
    "client send",        "client engine, out", "server engine, in", "server, receive and send",
    "server engine, out", "client engine, in",  "client receive"};

struct Run {
  StageBed* bed = nullptr;
  std::vector<MachnetFlow_t> flows;
  uint64_t next_flow = 0;  // they take turns, in an order that no prefetcher guesses
  uint64_t msg_size = 64;
  uint64_t window = 1;
  uint64_t to_send = 0;  // requests not yet sent
  uint64_t outstanding = 0;
  uint64_t answered = 0;
  std::optional<tools::Inbox> client_inbox, server_inbox;
  std::vector<uint8_t> message;
  std::array<MachnetIovec_t, kBatchMax> pieces{};
  std::array<MachnetMsgHdr_t, kBatchMax> headers{};
  std::vector<MachnetIovec_t> buffers;  // of a long request
};

// A counter that is cheaper to read than the clock where there is one.
uint64_t cycles_now() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return tools::clock_ns();
#endif
}

#define MN_STAGE __attribute__((noinline))

const MachnetFlow_t& next_flow(Run* run) {
  run->next_flow += kFlowStride;
  if (run->next_flow >= run->flows.size()) run->next_flow %= run->flows.size();
  return run->flows[run->next_flow];
}

// As msg_gen's client does it: short messages in batches, long ones written in place (which is the
// application's own work, and not done here).
int send_requests(Run* run, uint64_t room) {
  void* channel = run->bed->client().application();
  if (run->msg_size < tools::kInPlaceSize) {
    const int wanted = static_cast<int>(std::min<uint64_t>(room, kBatchMax));
    if (run->flows.size() > 1) {
      for (int i = 0; i < wanted; i++)
        run->headers[static_cast<size_t>(i)].flow_info = next_flow(run);
    }
    return machnet_sendmmsg(channel, run->headers.data(), wanted);
  }
  size_t count = run->buffers.size();
  if (machnet_buffer_alloc(channel, run->msg_size, run->buffers.data(), &count) != 0) return 0;
  const int result = machnet_buffer_send(channel, next_flow(run), run->buffers.data(), count);
  MN_ASSERT(result == 0);
  return 1;
}

MN_STAGE void stage_client_send(Run* run) {
  while (run->to_send > 0 && run->outstanding < run->window) {
    const int sent = send_requests(run, std::min(run->to_send, run->window - run->outstanding));
    if (sent <= 0) return;
    run->to_send -= static_cast<uint64_t>(sent);
    run->outstanding += static_cast<uint64_t>(sent);
  }
}

MN_STAGE void stage_client_engine_out(Run* run) {
  run->bed->client().engine().poll_once(run->bed->tick());
}
MN_STAGE void stage_server_engine_in(Run* run) {
  run->bed->server().engine().poll_once(run->bed->tick());
}

// As msg_gen's server does it.
MN_STAGE void stage_server(Run* run) {
  tools::Inbox& inbox = *run->server_inbox;
  std::array<MachnetMsgHdr_t, kBatchMax> headers;
  int received = 0;
  do {
    received = inbox.receive(kBatchMax, kServerBytesMax);
    const size_t count = inbox.count();
    if (count == 0) return;
    for (size_t i = 0; i < count; i++) {
      const tools::Received& request = inbox.at(i);
      const MachnetFlow_t& flow = request.flow;
      headers[i] = {static_cast<uint32_t>(request.size),
                    {flow.dst_ip, flow.src_ip, flow.dst_port, flow.src_port},
                    const_cast<MachnetIovec_t*>(request.pieces),
                    request.piece_count,
                    0};
    }
    const int sent =
        machnet_sendmmsg(run->bed->server().application(), headers.data(), static_cast<int>(count));
    MN_ASSERT(sent == static_cast<int>(count));
    for (size_t i = 0; i < count; i++) inbox.drop_first();
  } while (received == static_cast<int>(kBatchMax));
}

MN_STAGE void stage_server_engine_out(Run* run) {
  run->bed->server().engine().poll_once(run->bed->tick());
}
MN_STAGE void stage_client_engine_in(Run* run) {
  run->bed->client().engine().poll_once(run->bed->tick());
}

MN_STAGE void stage_client_receive(Run* run) {
  tools::Inbox& inbox = *run->client_inbox;
  const size_t messages_max = run->msg_size < tools::kInPlaceSize ? kBatchMax : 1;
  int received = 0;
  do {
    received = inbox.receive(messages_max, SIZE_MAX);
    while (inbox.count() > 0) {
      MN_ASSERT(inbox.at(0).size == run->msg_size);
      inbox.drop_first();
      run->outstanding--;
      run->answered++;
    }
  } while (received == static_cast<int>(messages_max));
}

using StageFunction = void (*)(Run*);
constexpr StageFunction kStageFunctions[kStages] = {
    stage_client_send,       stage_client_engine_out, stage_server_engine_in, stage_server,
    stage_server_engine_out, stage_client_engine_in,  stage_client_receive};

// Sends `count` requests and waits for all answers; adds each stage's cycles. Returns the passes.
uint64_t drive(Run* run, uint64_t count, std::array<uint64_t, kStages>* cycles) {
  run->to_send = count;
  const uint64_t wanted = run->answered + count;
  uint64_t passes = 0;
  uint64_t stuck = 0;
  uint64_t before = cycles_now();
  while (run->answered < wanted) {
    const uint64_t answered = run->answered;
    for (size_t stage = 0; stage < kStages; stage++) {
      kStageFunctions[stage](run);
      const uint64_t after = cycles_now();
      (*cycles)[stage] += after - before;
      before = after;
    }
    passes++;
    stuck = run->answered == answered ? stuck + 1 : 0;
    MN_ASSERT(stuck < 1'000'000);
  }
  return passes;
}

double cycles_per_ns() {
  const uint64_t start_ns = tools::clock_ns();
  const uint64_t start = cycles_now();
  while (tools::clock_ns() - start_ns < 50'000'000) continue;
  return static_cast<double>(cycles_now() - start) /
         static_cast<double>(tools::clock_ns() - start_ns);
}

struct Options {
  uint64_t msg_size = 64, window = 1, count = 0, mtu = 1500, repeats = 5, flows = 1, tick_ns = 500;
  bool offload = false, json = false, quiet = false;
};

void prepare(Run* run, StageBed* bed, const Options& options) {
  run->bed = bed;
  for (uint64_t i = 0; i < options.flows; i++) run->flows.push_back(bed->connect());
  run->client_inbox.emplace(bed->client().application());
  run->server_inbox.emplace(bed->server().application());
  run->msg_size = options.msg_size;
  run->window = options.window;
  run->message.assign(options.msg_size, 0x5a);
  run->buffers.resize(options.msg_size / bed->client().shape().buffer_size + 1);
  for (size_t i = 0; i < kBatchMax; i++) {
    run->pieces[i] = {run->message.data(), options.msg_size};
    run->headers[i] = {static_cast<uint32_t>(options.msg_size), run->flows[0], &run->pieces[i], 1,
                       0};
  }
}

void print_table(const Options& options, const std::array<double, kStages>& ns, double passes,
                 double packets) {
  double total = 0;
  for (double stage : ns) total += stage;
  if (options.json) {
    std::printf(
        "{\"type\":\"stage_cost\",\"msg_size\":%llu,\"msg_window\":%llu,\"mtu\":%llu,"
        "\"flows\":%llu,\"offload\":%s,\"total_ns\":%.1f,\"packets\":%.2f,\"stages_ns\":{",
        static_cast<unsigned long long>(options.msg_size),
        static_cast<unsigned long long>(options.window),
        static_cast<unsigned long long>(options.mtu),
        static_cast<unsigned long long>(options.flows), options.offload ? "true" : "false", total,
        packets);
    for (size_t i = 0; i < kStages; i++) {
      std::printf("%s\"%s\":%.1f", i == 0 ? "" : ",", kStageNames[i], ns[i]);
    }
    std::printf("}}\n");
    return;
  }
  std::printf("%llu bytes, window %llu, mtu %llu%s, %llu flows: ns for each request-response\n",
              static_cast<unsigned long long>(options.msg_size),
              static_cast<unsigned long long>(options.window),
              static_cast<unsigned long long>(options.mtu),
              options.offload ? ", checksums by the NIC" : "",
              static_cast<unsigned long long>(options.flows));
  for (size_t i = 0; i < kStages; i++) std::printf("  %-26s %10.1f\n", kStageNames[i], ns[i]);
  std::printf("  %-26s %10.1f   (%.2f passes, %.2f packets)\n", "all", total, passes, packets);
}

int run(const Options& options) {
  StageBed bed({static_cast<uint16_t>(options.mtu), options.offload,
                static_cast<uint32_t>(options.flows),
                nanoseconds(static_cast<int64_t>(options.tick_ns))});
  Run run;
  prepare(&run, &bed, options);
  uint64_t count = options.count;
  if (count == 0)
    count = options.msg_size >= 16384 ? 2'000 : options.msg_size >= 4096 ? 20'000 : 200'000;
  std::array<uint64_t, kStages> warm{};
  drive(&run, count / 10 + 1, &warm);
  if (options.quiet) {  // under callgrind: one run, no clock
    drive(&run, count, &warm);
    std::printf("messages %llu\n", static_cast<unsigned long long>(count + count / 10 + 1));
    return 0;
  }
  const double scale = 1.0 / cycles_per_ns() / static_cast<double>(count);
  std::array<double, kStages> best{};
  double best_total = 0;
  uint64_t passes = 0;
  const uint64_t frames_before =
      bed.client().port().frames_sent() + bed.server().port().frames_sent();
  for (uint64_t r = 0; r < options.repeats; r++) {
    std::array<uint64_t, kStages> cycles{};
    passes = drive(&run, count, &cycles);
    double total = 0;
    for (uint64_t c : cycles) total += static_cast<double>(c) * scale;
    if (r != 0 && total >= best_total) continue;
    best_total = total;
    for (size_t i = 0; i < kStages; i++) best[i] = static_cast<double>(cycles[i]) * scale;
  }
  const uint64_t frames = bed.client().port().frames_sent() + bed.server().port().frames_sent();
  const double sent = static_cast<double>(count) * static_cast<double>(options.repeats);
  print_table(options, best, static_cast<double>(passes) / static_cast<double>(count),
              static_cast<double>(frames - frames_before) / sent);
  return 0;
}

}  // namespace
}  // namespace mn::bench

int main(int argc, char** argv) {
  mn::bench::Options options;
  bool help = false;
  mn::tools::FlagSet flags;
  flags.add_number("msg_size", &options.msg_size, 1, MACHNET_MSG_MAX_LEN, "bytes (default 64)");
  flags.add_number("msg_window", &options.window, 1, 4096, "requests outstanding (default 1)");
  flags.add_number("count", &options.count, 0, UINT64_MAX, "request-responses (default: by size)");
  flags.add_number("repeats", &options.repeats, 1, 1000, "runs, the best is reported (default 5)");
  flags.add_number("mtu", &options.mtu, 576, 32768, "of the wire (default 1500)");
  flags.add_number("flows", &options.flows, 1, 15000,
                   "messages take turns over so many flows (default 1)");
  flags.add_number("tick_ns", &options.tick_ns, 1, 1000000000,
                   "virtual time of a stage that an engine has (default 500)");
  flags.add_switch("offload", &options.offload, "the wire checks and completes checksums");
  flags.add_switch("quiet", &options.quiet,
                   "for callgrind: one run, prints the number of messages");
  flags.add_switch("json", &options.json, "print one JSON object");
  flags.add_switch("help", &help, "this text");
  const std::string error = flags.parse(argc, argv);
  if (!error.empty()) {
    std::fprintf(stderr, "stage_cost: %s\n", error.c_str());
    return 2;
  }
  if (help) {
    flags.print_help(stdout);
    return 0;
  }
  return mn::bench::run(options);
}
