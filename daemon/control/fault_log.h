// SPDX-License-Identifier: MIT
// FaultLog: lines about misbehaving clients, a bounded number of them: whoever may connect could
// otherwise fill the disk by misbehaving.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "base/time.h"

namespace mn::control {

class FaultLog {
 public:
  void write(Instant now, const LogEvent& event, const std::string& line) {
    if (now - since_ >= kPeriod) {
      if (unwritten_ > 0) {
        log_warning("%llu further lines about misbehaving clients were left out",
                    static_cast<unsigned long long>(unwritten_));
      }
      since_ = now;
      written_ = 0;
      unwritten_ = 0;
    }
    if (written_ < kLinesPerPeriod) {
      written_++;
      log_event(LogLevel::kWarning, event, "%s", line.c_str());
    } else {
      unwritten_++;
    }
  }

 private:
  static constexpr Duration kPeriod = seconds(10);
  static constexpr uint32_t kLinesPerPeriod = 20;

  Instant since_{INT64_MIN / 2};
  uint32_t written_ = 0;
  uint64_t unwritten_ = 0;
};

}  // namespace mn::control
