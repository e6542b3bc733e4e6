// SPDX-License-Identifier: MIT
// congestion_figures: what the congestion controls do on simulated bottlenecks, as plain data files
// for plots.sh. Virtual time: the numbers are the same on every machine.
//
//   congestion_figures DIRECTORY [FIGURE...]
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "sim/congestion_lab.h"

namespace mn::test {
namespace {

using transport::CongestionKind;

constexpr std::array kControls = {CongestionKind::kSwift, CongestionKind::kCubic,
                                  CongestionKind::kFixed};

// 10 Gbit/s, 50 us there and back, a queue of eight times what fits on the way.
LabConfig rack(CongestionKind control) {
  LabConfig config;
  config.congestion = control;
  config.bottleneck.bits_per_second = 10'000'000'000;
  config.bottleneck.delay = microseconds(25);
  config.bottleneck.queue_packets = 512;
  return config;
}

// Of what the link can carry, between two times.
double goodput(CongestionLab* lab, const LabConfig& config, Duration from, Duration to) {
  lab->run_until(from);
  const uint64_t before = lab->received_bytes();
  lab->run_until(to);
  const double bits = static_cast<double>(lab->received_bytes() - before) * 8;
  const double frame = config.mss + 32 + 18 + 24;
  const double rate = static_cast<double>(config.bottleneck.bits_per_second);
  return bits / (static_cast<double>((to - from).ns) * 1e-9 * rate * config.mss / frame);
}

double loss(CongestionKind control, double percent) {
  LabConfig config = rack(control);
  config.bottleneck.loss = percent / 100;
  CongestionLab lab(config);
  lab.add_bulk(0, {});
  return goodput(&lab, config, milliseconds(5), milliseconds(55));
}

double tail(CongestionKind control, double bulks) {
  LabConfig config = rack(control);
  config.senders = 1 + static_cast<uint32_t>(bulks);
  CongestionLab lab(config);
  const uint32_t small = lab.add_requests(0, {}, 64);
  for (uint32_t i = 1; i < config.senders; i++) lab.add_bulk(i, milliseconds(2));
  lab.run_until(milliseconds(5));
  const auto before = static_cast<long>(lab.flow(small).latencies.size());
  lab.run_until(milliseconds(45));
  std::vector<Duration>& latencies = lab.latencies(small);
  std::sort(latencies.begin() + before, latencies.end());
  const size_t count = latencies.size() - static_cast<size_t>(before);
  if (count == 0) return 40'000;
  return static_cast<double>(latencies[static_cast<size_t>(before) + count * 99 / 100].ns) / 1000;
}

// Jain's index of 6 ms, 100 round trips after the start.
double fairness(CongestionKind control, double flows) {
  LabConfig config = rack(control);
  config.senders = static_cast<uint32_t>(flows);
  CongestionLab lab(config);
  for (uint32_t i = 0; i < config.senders; i++) {
    lab.add_bulk(i, nanoseconds(100'000 / config.senders * i));
  }
  lab.run_until(milliseconds(8));
  const Duration begin = lab.snapshot(0).rtt_smoothed * 100;
  lab.run_until(begin);
  std::vector<double> shares;
  for (uint32_t i = 0; i < config.senders; i++) {
    shares.push_back(-static_cast<double>(lab.flow(i).received_bytes));
  }
  lab.run_until(begin + milliseconds(6));
  for (uint32_t i = 0; i < config.senders; i++) {
    shares[i] += static_cast<double>(lab.flow(i).received_bytes);
  }
  return jain_index(shares);
}

// A queue of 64 packets, half as many as there are senders.
double incast(CongestionKind control, double senders) {
  LabConfig config = rack(control);
  config.senders = static_cast<uint32_t>(senders);
  config.bottleneck.delay = microseconds(10);
  config.bottleneck.queue_packets = 64;
  CongestionLab lab(config);
  for (uint32_t i = 0; i < config.senders; i++) lab.add_bulk(i, nanoseconds(500 * i));
  return goodput(&lab, config, milliseconds(3), milliseconds(18));
}

// From the moment the path is back until 200 us in which nine tenths of the link are used.
double black_hole(CongestionKind control, double length_ms) {
  LabConfig config = rack(control);
  CongestionLab lab(config);
  lab.add_bulk(0, {});
  lab.run_until(milliseconds(5));
  lab.bottleneck().config().blackhole = true;
  const Duration back = milliseconds(5 + static_cast<int64_t>(length_ms));
  lab.run_until(back);
  lab.bottleneck().config().blackhole = false;
  Duration at = back;
  while (goodput(&lab, config, at, at + microseconds(200)) < 0.9 && at < back + seconds(2)) {
    at = at + microseconds(200);
  }
  return static_cast<double>((at - back).ns) / 1e6;
}

LabConfig policed(CongestionKind control, double gbits) {
  LabConfig config = rack(control);
  config.senders = 4;
  config.bottleneck.queue_packets = 256;
  config.bottleneck.policed_bits_per_second = static_cast<uint64_t>(gbits * 1e9);
  return config;
}

double policer_loss(CongestionKind control, double gbits) {
  const LabConfig config = policed(control, gbits);
  CongestionLab lab(config);
  for (uint32_t i = 0; i < config.senders; i++) lab.add_bulk(i, {});
  lab.run_until(milliseconds(50));
  lab.loss_share();
  lab.run_until(milliseconds(200));
  return lab.loss_share() * 100;
}

double policer_goodput(CongestionKind control, double gbits) {
  LabConfig config = policed(control, gbits);
  CongestionLab lab(config);
  for (uint32_t i = 0; i < config.senders; i++) lab.add_bulk(i, {});
  config.bottleneck.bits_per_second = config.bottleneck.policed_bits_per_second;
  return goodput(&lab, config, milliseconds(50), milliseconds(200));
}

// Hosts that look at their NIC up to so late.
double late_hosts(CongestionKind control, double late_us) {
  LabConfig config = rack(control);
  config.poll_delay_max = microseconds(static_cast<int64_t>(late_us));
  CongestionLab lab(config);
  lab.add_bulk(0, {});
  return goodput(&lab, config, milliseconds(10), milliseconds(60));
}

struct Figure {
  const char* name;
  const char* x;
  const char* y;
  double (*measure)(CongestionKind, double);
  std::vector<double> points;
};

const std::vector<Figure>& figures() {
  static const std::vector<Figure> all = {
      {"loss", "random loss, %", "goodput, of the link", loss, {0, 0.1, 0.5, 1, 2, 3, 5, 7, 10}},
      {"tail", "bulk flows", "p99 of 64-byte requests, us", tail, {0, 1, 2, 4, 8}},
      {"fairness", "flows", "Jain index after 100 round trips", fairness, {2, 4, 8, 16, 32, 64}},
      {"incast", "senders", "goodput, of the link", incast, {1, 2, 4, 8, 16, 32, 64, 128}},
      {"black_hole", "length, ms", "until 90 % of the link, ms", black_hole, {1, 10, 100, 1000}},
      {"policer_loss", "policed to, Gbit/s", "loss, %", policer_loss, {0.5, 1, 3, 5}},
      {"policer_goodput", "policed to, Gbit/s", "goodput, of it", policer_goodput, {0.5, 1, 3, 5}},
      {"late_hosts",
       "late by up to, us",
       "goodput, of the link",
       late_hosts,
       {0, 20, 40, 100, 200}},
  };
  return all;
}

bool draw(const Figure& figure, const std::string& directory) {
  const std::string path = directory + "/" + figure.name + ".dat";
  FILE* file = fopen(path.c_str(), "we");
  if (file == nullptr) {
    fprintf(stderr, "congestion_figures: cannot write %s: make the directory first\n",
            path.c_str());
    return false;
  }
  fprintf(file, "# %s | %s\n# x swift cubic fixed\n", figure.x, figure.y);
  for (const double x : figure.points) {
    fprintf(file, "%g", x);
    for (const CongestionKind control : kControls) {
      fprintf(file, " %.4g", figure.measure(control, x));
    }
    fprintf(file, "\n");
    fflush(file);
  }
  return fclose(file) == 0;
}

}  // namespace
}  // namespace mn::test

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: congestion_figures DIRECTORY [FIGURE...]\n");
    return 2;
  }
  bool fine = true;
  for (const auto& figure : mn::test::figures()) {
    bool wanted = argc == 2;
    for (int i = 2; i < argc; i++) wanted = wanted || std::string(argv[i]) == figure.name;
    if (wanted) fine = mn::test::draw(figure, argv[1]) && fine;
  }
  return fine ? 0 : 1;
}
