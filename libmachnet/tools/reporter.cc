// SPDX-License-Identifier: MIT
#include "libmachnet/tools/reporter.h"

#include <sys/resource.h>

#include <cinttypes>

namespace mn::tools {
namespace {

double microseconds(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

// User and system time of this process.
double process_cpu_s() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void print_rtt_json(const HistogramSnapshot& rtt) {
  std::printf(
      ",\"rtt_us\":{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f,"
      "\"max\":%.2f}",
      rtt.mean_ns() / 1e3, microseconds(rtt.percentile_ns(0.5)),
      microseconds(rtt.percentile_ns(0.9)), microseconds(rtt.percentile_ns(0.99)),
      microseconds(rtt.percentile_ns(0.999)), microseconds(rtt.max_ns()));
}

}  // namespace

Totals Totals::of(const std::vector<WorkerStats*>& workers) {
  Totals sum;
  for (const WorkerStats* worker : workers) {
    sum.messages += worker->messages.load(std::memory_order_relaxed);
    sum.bytes += worker->bytes.load(std::memory_order_relaxed);
    sum.lost += worker->lost.load(std::memory_order_relaxed);
    sum.corrupt += worker->corrupt.load(std::memory_order_relaxed);
    sum.unanswered += worker->unanswered.load(std::memory_order_relaxed);
    sum.rtt.add(worker->rtt.snapshot());
  }
  return sum;
}

Totals Totals::since(const Totals& earlier) const {
  Totals delta = *this;
  delta.messages -= earlier.messages;
  delta.bytes -= earlier.bytes;
  delta.lost -= earlier.lost;
  delta.corrupt -= earlier.corrupt;
  delta.unanswered -= earlier.unanswered;
  delta.rtt.subtract(earlier.rtt);
  return delta;
}

void Reporter::interval(double at_s, double length_s, const Totals& delta) {
  // A server without clients says so once, not every second.
  const bool idle = !run_.is_client && delta.messages == 0;
  if (idle && was_idle_) return;
  was_idle_ = idle;
  const double rate = static_cast<double>(delta.messages) / length_s;
  const double gbits = static_cast<double>(delta.bytes) * 8 / length_s / 1e9;
  if (json_) {
    std::printf("{\"type\":\"interval\",\"at_s\":%.3f,\"rate\":%.1f,\"gbit_s\":%.4f", at_s, rate,
                gbits);
    if (run_.is_client) print_rtt_json(delta.rtt);
    std::printf("}\n");
  } else {
    std::printf("%7.1f s  %10.0f msg/s  %8.3f Gbit/s", at_s, rate, gbits);
    if (run_.is_client) {
      std::printf("  p50 %8.1f us  p99 %8.1f us  p99.9 %8.1f us",
                  microseconds(delta.rtt.percentile_ns(0.5)),
                  microseconds(delta.rtt.percentile_ns(0.99)),
                  microseconds(delta.rtt.percentile_ns(0.999)));
      if (delta.lost > 0) std::printf("  lost %" PRIu64, delta.lost);
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void Reporter::summary(double length_s, const Totals& delta) {
  const double rate = length_s > 0 ? static_cast<double>(delta.messages) / length_s : 0;
  const double gbits = length_s > 0 ? static_cast<double>(delta.bytes) * 8 / length_s / 1e9 : 0;
  const HistogramSnapshot& rtt = delta.rtt;
  if (json_) {
    std::printf("{\"type\":\"summary\",\"stack\":\"%s\",\"mode\":\"%s\",\"role\":\"%s\"",
                run_.stack.c_str(), run_.mode.c_str(), run_.is_client ? "client" : "server");
    std::printf(",\"msg_size\":%" PRIu64 ",\"msg_window\":%" PRIu64 ",\"flows\":%" PRIu64
                ",\"threads\":%" PRIu64,
                run_.msg_size, run_.msg_window, run_.flows, run_.threads);
    std::printf(",\"seconds\":%.3f,\"messages\":%" PRIu64 ",\"rate\":%.1f,\"gbit_s\":%.4f",
                length_s, delta.messages, rate, gbits);
    std::printf(",\"lost\":%" PRIu64 ",\"corrupt\":%" PRIu64 ",\"unanswered\":%" PRIu64
                ",\"cpu_s\":%.3f",
                delta.lost, delta.corrupt, delta.unanswered, process_cpu_s());
    if (run_.is_client) print_rtt_json(rtt);
    std::printf("}\n");
  } else {
    std::printf("%s %s: %" PRIu64 " messages of %s in %.2f s: %.0f msg/s, %.3f Gbit/s each way",
                run_.stack.c_str(), run_.is_client ? "client" : "server", delta.messages,
                run_.is_client ? (std::to_string(run_.msg_size) + " bytes").c_str() : "any size",
                length_s, rate, gbits);
    std::printf(", %.2f s of CPU\n", process_cpu_s());
    if (run_.is_client) {
      std::printf("round trip: mean %.1f  p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f us\n",
                  rtt.mean_ns() / 1e3, microseconds(rtt.percentile_ns(0.5)),
                  microseconds(rtt.percentile_ns(0.9)), microseconds(rtt.percentile_ns(0.99)),
                  microseconds(rtt.percentile_ns(0.999)), microseconds(rtt.max_ns()));
    }
    if (delta.lost + delta.corrupt + delta.unanswered > 0) {
      std::printf("lost %" PRIu64 ", corrupt %" PRIu64 ", unanswered %" PRIu64 "\n", delta.lost,
                  delta.corrupt, delta.unanswered);
    }
  }
  std::fflush(stdout);
}

}  // namespace mn::tools
