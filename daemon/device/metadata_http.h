// SPDX-License-Identifier: MIT
// One question over plain HTTP to a metadata service, through libcurl, with nothing of what makes a
// general client dangerous here: no redirect, no proxy, no other protocol, no name that leads
// elsewhere (only link-local and, for tests, loopback addresses are connected to), little time and
// little memory. Blocks; machnet-nic's main thread only. Never retries but where a service asks to.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"

namespace mn::device {

struct HttpRequest {
  std::string method = "GET";  // or "PUT", without a body
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
};

struct HttpLimits {
  std::chrono::milliseconds connect{1000};
  std::chrono::milliseconds total{2500};  // of one attempt
  std::chrono::milliseconds pause{300};   // before a busy service is asked again
  int attempts = 3;
  size_t body_bytes_max = 64 << 10;
};

struct HttpAnswer {
  long status = 0;
  std::string body;
  std::string flavor;  // the header Metadata-Flavor; "" without
};

// Any status is an answer. An error says in a few words why there is none, without the URL.
Result<HttpAnswer> http_ask(const HttpRequest& request, const HttpLimits& limits = {});

}  // namespace mn::device
