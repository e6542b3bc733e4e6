// SPDX-License-Identifier: MIT
// Result: a value, or one sentence that says what is wrong, where, and what to do about it.
// For start-up and the control plane (operating errors); it may allocate, so the data plane does
// not use it.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/assert.h"

namespace mn {

struct Error {
  std::string message;  // one line, no final newline
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  T& value() {
    MN_ASSERT(ok());
    return *std::get_if<T>(&state_);
  }
  const T& value() const {
    MN_ASSERT(ok());
    return *std::get_if<T>(&state_);
  }
  const std::string& error() const {
    MN_ASSERT(!ok());
    return std::get_if<Error>(&state_)->message;
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const std::string& error() const {
    MN_ASSERT(!ok_);
    return error_.message;
  }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace mn
