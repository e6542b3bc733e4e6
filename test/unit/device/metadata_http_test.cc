// SPDX-License-Identifier: MIT
// What a client of a metadata service must not do, tried against a server on the loopback
// interface.
#include "device/metadata_http.h"

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "unit/device/fake_service.h"
extern "C" {
#include <cmocka.h>
}

using namespace mn;
using namespace mn::device;
using mn::test::http;

namespace {

using Clock = std::chrono::steady_clock;

struct Fixture {
  std::unique_ptr<test::FakeService> service;
  HttpRequest request;
  HttpLimits limits;
  HttpAnswer answer;
  std::string error;
  std::vector<std::string> requests;
  std::vector<int> fds;
};

int setup(void** state) {
  auto* fixture = new Fixture;
  fixture->limits.total = std::chrono::milliseconds(400);
  fixture->limits.pause = std::chrono::milliseconds(1);
  *state = fixture;
  return 0;
}

int teardown(void** state) {
  auto* fixture = static_cast<Fixture*>(*state);
  for (const int fd : fixture->fds) close(fd);
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  delete fixture;
  return 0;
}

Fixture* of(void** state) { return static_cast<Fixture*>(*state); }

void serve(Fixture* fixture, test::FakeService::Answer answer) {
  fixture->service = std::make_unique<test::FakeService>(std::move(answer));
  fixture->request.url = fixture->service->url() + "/facts";
}

bool ask(Fixture* fixture) {
  auto answer = http_ask(fixture->request, fixture->limits);
  fixture->error = answer ? "" : answer.error();
  if (answer) fixture->answer = answer.value();
  if (fixture->service) fixture->requests = fixture->service->requests();
  return answer.ok();
}

bool says(const Fixture* fixture, const char* text) {
  if (fixture->error.find(text) != std::string::npos) return true;
  print_error("not said: %s\nsaid: %s\n", text, fixture->error.c_str());
  return false;
}

void ask__sends_what_it_is_told_and_takes_the_answer(void** state) {
  serve(of(state), [](const std::string&) {
    return http("200 OK", "hello", "metadata-flavor:  Google \r\n");
  });
  of(state)->request.method = "PUT";
  of(state)->request.headers = {"Metadata: true", "X-Two: 2"};
  assert_true(ask(of(state)));
  assert_int_equal(of(state)->answer.status, 200);
  assert_string_equal(of(state)->answer.body.c_str(), "hello");
  assert_string_equal(of(state)->answer.flavor.c_str(), "Google");
  assert_int_equal(of(state)->requests.size(), 1);
  const std::string& request = of(state)->requests[0];
  assert_true(request.starts_with("PUT /facts HTTP/1.1\r\n"));
  assert_non_null(strstr(request.c_str(), "\r\nMetadata: true\r\nX-Two: 2\r\n"));
}

void ask__takes_no_proxy_from_the_environment(void** state) {
  serve(of(state), [](const std::string&) { return http("200 OK", "direct"); });
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  assert_true(ask(of(state)));
  assert_string_equal(of(state)->answer.body.c_str(), "direct");
}

void ask__follows_nobody(void** state) {
  serve(of(state),
        [](const std::string&) { return http("302 Found", "", "Location: /elsewhere\r\n"); });
  assert_true(ask(of(state)));
  assert_int_equal(of(state)->answer.status, 302);
  assert_int_equal(of(state)->requests.size(), 1);
}

void ask__connects_only_to_metadata_services(void** state) {
  of(state)->request.url = "http://192.0.2.1/latest";
  assert_false(ask(of(state)));
  assert_string_equal(of(state)->error.c_str(),
                      "not asked: it leads to 192.0.2.1, which is no metadata service");
  of(state)->request.url = "http://[::1]/latest";
  assert_false(ask(of(state)));
  assert_string_equal(
      of(state)->error.c_str(),
      "not asked: it leads to another address than IPv4, which is no metadata service");
}

void ask__speaks_only_http(void** state) {
  for (const char* url :
       {"file:///etc/hostname", "https://127.0.0.1/", "ftp://127.0.0.1/", "", ":"}) {
    of(state)->request.url = url;
    if (ask(of(state))) fail_msg("%s", url);
    assert_true(says(of(state), "no answer ("));
  }
}

void ask__gives_up_on_a_slow_server(void** state) {
  serve(of(state), [](const std::string&) { return http("200 OK", std::string(500, 'x')); });
  of(state)->service->pause_ms = 10;
  const auto start = Clock::now();
  assert_false(ask(of(state)));
  assert_string_equal(of(state)->error.c_str(), "no answer within 400 ms");
  assert_true(Clock::now() - start < std::chrono::seconds(3));
}

void ask__gives_up_on_a_server_that_is_not_there(void** state) {
  serve(of(state), [](const std::string&) { return ""; });
  of(state)->service.reset();
  assert_false(ask(of(state)));
  assert_true(says(of(state), "no answer (Failed to connect to 127.0.0.1 port "));
}

void ask__gives_up_on_a_server_that_does_not_let_it_in(void** state) {
  // A queue of one that is full: the kernel lets further packets fall, as a firewall would.
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  of(state)->fds.push_back(listener);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  assert_int_equal(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  assert_int_equal(listen(listener, 0), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  for (int i = 0; i < 4; i++) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    of(state)->fds.push_back(fd);
    connect(fd, reinterpret_cast<sockaddr*>(&address), size);
  }
  of(state)->request.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  of(state)->limits.connect = std::chrono::milliseconds(200);
  of(state)->limits.total = std::chrono::milliseconds(5000);
  const auto start = Clock::now();
  assert_false(ask(of(state)));
  assert_true(says(of(state), "no answer within 200 ms"));
  assert_true(Clock::now() - start < std::chrono::seconds(3));
}

void ask__takes_no_more_than_it_has_room_for(void** state) {
  serve(of(state), [](const std::string&) { return http("200 OK", std::string(70 << 10, 'x')); });
  assert_false(ask(of(state)));
  assert_string_equal(of(state)->error.c_str(), "the answer is longer than 65536 bytes");
  // Without a length that would tell.
  serve(of(state),
        [](const std::string&) { return "HTTP/1.1 200 OK\r\n\r\n" + std::string(1 << 20, 'x'); });
  assert_false(ask(of(state)));
  assert_string_equal(of(state)->error.c_str(), "the answer is longer than 65536 bytes");
  serve(of(state), [](const std::string&) {
    std::string headers;
    for (int i = 0; i < 1000; i++) headers += "X-Header: 12345678901234567890\r\n";
    return http("200 OK", "x", headers);
  });
  assert_false(ask(of(state)));
  serve(of(state), [](const std::string&) { return http("200 OK", std::string(64 << 10, 'x')); });
  assert_true(ask(of(state)));
  assert_int_equal(of(state)->answer.body.size(), 64 << 10);
}

void ask__refuses_what_is_no_http(void** state) {
  for (const char* bytes :
       {"", "hello\n", "SSH-2.0-OpenSSH_9.2\r\n", "\r\n\r\n", "HTTP/9.9 abc\r\n\r\n"}) {
    serve(of(state), [bytes](const std::string&) { return bytes; });
    if (ask(of(state))) fail_msg("\"%s\"", bytes);
    assert_true(says(of(state), "no answer ("));
  }
  serve(of(state),
        [](const std::string&) { return "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut off"; });
  assert_false(ask(of(state)));
}

void ask__asks_a_busy_server_again(void** state) {
  serve(of(state), [tries = 0](const std::string&) mutable {
    return ++tries < 3 ? http("503 Busy", "later") : http("200 OK", "now");
  });
  assert_true(ask(of(state)));
  assert_string_equal(of(state)->answer.body.c_str(), "now");
  assert_int_equal(of(state)->requests.size(), 3);
  serve(of(state), [](const std::string&) { return http("429 Too Many Requests", ""); });
  assert_true(ask(of(state)));
  assert_int_equal(of(state)->answer.status, 429);
  assert_int_equal(of(state)->requests.size(), 3);
  serve(of(state), [](const std::string&) { return http("404 Not Found", ""); });
  assert_true(ask(of(state)));
  assert_int_equal(of(state)->requests.size(), 1);
}

}  // namespace

#define with_service(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main() {
  const CMUnitTest tests[] = {
      with_service(ask__sends_what_it_is_told_and_takes_the_answer),
      with_service(ask__takes_no_proxy_from_the_environment),
      with_service(ask__follows_nobody),
      with_service(ask__connects_only_to_metadata_services),
      with_service(ask__speaks_only_http),
      with_service(ask__gives_up_on_a_slow_server),
      with_service(ask__gives_up_on_a_server_that_is_not_there),
      with_service(ask__gives_up_on_a_server_that_does_not_let_it_in),
      with_service(ask__takes_no_more_than_it_has_room_for),
      with_service(ask__refuses_what_is_no_http),
      with_service(ask__asks_a_busy_server_again),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
