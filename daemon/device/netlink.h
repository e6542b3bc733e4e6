// SPDX-License-Identifier: MIT
// A conversation with the kernel's routing tables (rtnetlink) through libmnl: dumps and changes,
// one at a time, with the kernel's own words where it refuses. Owned by NetlinkKernelNet; blocking,
// but never longer than a few seconds. Knows nothing of what the messages mean.
#pragma once

#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace mn::device {

struct NetlinkRefusal {
  int error = 0;     // errno; 0: done
  std::string text;  // the kernel's explanation after strerror(), or why it could not be asked
};

class Netlink {
 public:
  static Result<std::unique_ptr<Netlink>> open();

  // Room for a request of `type`; append its payload with mnl_nlmsg_put_extra_header and
  // mnl_attr_put.
  nlmsghdr* request(uint16_t type, uint16_t flags);

  // Sends what request() returned and reads answers to the end; starts over when the tables changed
  // meanwhile, so that `begin` is called once for each try. The error is without a subject.
  Result<void> dump(const nlmsghdr* request, const std::function<void()>& begin,
                    const std::function<void(const nlmsghdr*)>& each);

  // Sends and waits for the acknowledgement.
  NetlinkRefusal change(nlmsghdr* request);

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  explicit Netlink(mnl_socket* socket);
  enum class Outcome : uint8_t { kDone, kAgain, kFailed };
  Outcome receive_dump(const std::function<void(const nlmsghdr*)>& each, std::string* ret_error);

  std::unique_ptr<mnl_socket, Closer> socket_;
  uint32_t sequence_ = 0;
  std::vector<char> out_;
  std::vector<char> in_;
};

// The attributes in `bytes` bytes, one after the other. (libmnl's own loops are C.)
template <typename Each>
void for_each_attribute(const void* first, size_t bytes, Each each) {
  const char* const end = static_cast<const char*>(first) + bytes;
  const auto* at = static_cast<const nlattr*>(first);
  for (; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)));
       at = mnl_attr_next(at)) {
    each(at);
  }
}

template <typename Each>
void for_each_nested(const nlattr* nest, Each each) {
  for_each_attribute(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), each);
}

// The attributes of a message by number; nullptr where there is none. `N` is the highest asked for.
template <size_t N>
struct Attributes {
  const nlattr* at[N + 1] = {};
  const nlattr* operator[](size_t type) const { return type <= N ? at[type] : nullptr; }
};

template <size_t N>
Attributes<N> attributes_of(const nlmsghdr* message, size_t header_bytes) {
  Attributes<N> found;
  const size_t skip = MNL_ALIGN(header_bytes);
  const size_t bytes = mnl_nlmsg_get_payload_len(message);
  if (bytes < skip) return found;
  for_each_attribute(mnl_nlmsg_get_payload_offset(message, skip), bytes - skip,
                     [&found](const nlattr* attribute) {
                       const uint16_t type = mnl_attr_get_type(attribute);
                       if (type <= N) found.at[type] = attribute;
                     });
  return found;
}

}  // namespace mn::device
