// SPDX-License-Identifier: MIT
// Outcome: how a request ended, as the client will read it: 0, or an errno and a sentence.
#pragma once

#include <functional>
#include <string>
#include <utility>

namespace mn::control {

struct Outcome {
  int error = 0;
  std::string reason;

  bool ok() const { return error == 0; }
};

using Done = std::function<void(const Outcome&)>;

}  // namespace mn::control
