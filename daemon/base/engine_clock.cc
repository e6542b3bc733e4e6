// SPDX-License-Identifier: MIT
#include "base/engine_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <fstream>

namespace mn {

namespace {

constexpr char kSourceFolder[] = "/sys/devices/system/clocksource/clocksource0/";
// An interrupt between the two looks at the counter makes the pair worthless: again, a few times.
constexpr int kTriesMax = 4;
constexpr uint64_t kTightTicks = 1000;

bool has_word(std::string_view text, std::string_view word) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (text.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// Intel SDM volume 3 section 18.17.1, AMD APM volume 3 appendix E.4.7.
bool counter_is_invariant() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
#else
  return false;
#endif
}

}  // namespace

ClockChoice judge_clock(bool invariant, std::string_view current, std::string_view available) {
  if (!invariant) return {false, "the processor's counter is not invariant"};
  if (current.empty()) return {false, "the kernel does not tell its clock source"};
  // The kernel takes a counter that it found unstable, or different between processors, out of
  // this list.
  if (!has_word(available, "tsc")) return {false, "the kernel does not trust the TSC"};
  // Hypervisors' clocks that are the TSC with a scale and an offset, as this one is.
  for (const std::string_view source : {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page"}) {
    if (current == source) {
      return {true, "invariant TSC, the kernel's clock source is " + std::string(current)};
    }
  }
  return {false, "the kernel's clock source is " + std::string(current)};
}

ClockChoice choose_clock() {
  const std::string folder = kSourceFolder;
  return judge_clock(counter_is_invariant(), first_line(folder + "current_clocksource"),
                     first_line(folder + "available_clocksource"));
}

Instant EngineClock::look() {
#if defined(__x86_64__)
  uint64_t best_ticks = 0;
  uint64_t best_span = UINT64_MAX;
  Instant best_kernel;
  for (int i = 0; i < kTriesMax && best_span > kTightTicks; i++) {
    const uint64_t before = __builtin_ia32_rdtsc();
    const Instant kernel = clock_now();
    const uint64_t span = __builtin_ia32_rdtsc() - before;
    if (span >= best_span) continue;
    best_span = span;
    best_ticks = before + span / 2;
    best_kernel = kernel;
  }
  const Instant now = timeline_.correct(best_ticks, best_kernel);
  // For good, as soon as the kernel's clock has caught up with what was given out.
  if (timeline_.has_given_up() && now == best_kernel) use_counter_ = false;
  return now;
#else
  return clock_now();
#endif
}

}  // namespace mn
