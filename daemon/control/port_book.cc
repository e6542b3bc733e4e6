// SPDX-License-Identifier: MIT
#include "control/port_book.h"

#include <algorithm>

namespace mn::control {
namespace {

// Every loopback address is one host: ours.
Ipv4 book_address(Ipv4 ip) { return ip >> 24 == 127 ? kLoopbackAddress : ip; }

}  // namespace

PortBook::PortBook(std::span<const EngineFacts* const> engines, uint64_t seed) {
  auto add = [this, seed](Ipv4 address) {
    if (!books_of(address).empty()) return;
    const host::PortTableConfig config{.seed = seed + address};
    books_.push_back({address, std::make_unique<host::PortTable>(config)});
  };
  for (const EngineFacts* engine : engines) {
    add(book_address(engine->address));
    if (engine->serves_loopback) add(kLoopbackAddress);
  }
}

std::span<PortBook::Book> PortBook::books_of(Ipv4 ip) {
  if (ip == 0) return books_;
  for (Book& book : books_) {
    if (book.address == book_address(ip)) return {&book, 1};
  }
  return {};
}

host::PortStatus PortBook::listen(Ipv4 ip, Port port, host::PortOwner owner) {
  const std::span<Book> books = books_of(ip);
  for (size_t i = 0; i < books.size(); i++) {
    const host::PortStatus status = books[i].table->listen(port, owner);
    if (status == host::PortStatus::kOk) continue;
    while (i-- > 0) books[i].table->unlisten(port, owner);
    return status;
  }
  return books.empty() ? host::PortStatus::kInvalid : host::PortStatus::kOk;
}

void PortBook::unlisten(Ipv4 ip, Port port, host::PortOwner owner) {
  for (Book& book : books_of(ip)) book.table->unlisten(port, owner);
}

Port PortBook::allocate(Instant now, Ipv4 ip, host::PortOwner owner) {
  const std::span<Book> books = books_of(ip);
  return books.size() == 1 ? books[0].table->allocate(now, owner) : Port{0};
}

bool PortBook::take(Instant now, Ipv4 ip, Port port, host::PortOwner owner) {
  const std::span<Book> books = books_of(ip);
  return books.size() == 1 && books[0].table->take(now, port, owner);
}

void PortBook::release(Instant now, Ipv4 ip, Port port) {
  for (Book& book : books_of(ip)) book.table->release(now, port);
}

}  // namespace mn::control
