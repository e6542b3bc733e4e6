// SPDX-License-Identifier: MIT
#include "device/metadata_http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>

#include "device/text.h"

namespace mn::device {

namespace {

constexpr size_t kHeaderBytesMax = 16 << 10;
constexpr char kFlavor[] = "Metadata-Flavor:";

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using List = std::unique_ptr<curl_slist, ListDeleter>;

// What the callbacks of one attempt share.
struct Exchange {
  HttpAnswer answer;
  size_t body_bytes_max = 0;
  size_t header_bytes = 0;
  bool too_large = false;
  bool is_connected = false;
  std::string refused;  // an address that is not one of a metadata service
};

size_t on_body(char* data, size_t size, size_t count, void* user) {
  Exchange* const exchange = static_cast<Exchange*>(user);
  const size_t bytes = size * count;
  if (bytes > exchange->body_bytes_max - exchange->answer.body.size()) {
    exchange->too_large = true;
    return 0;  // other than `bytes`: curl ends the transfer
  }
  exchange->answer.body.append(data, bytes);
  return bytes;
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  Exchange* const exchange = static_cast<Exchange*>(user);
  const size_t bytes = size * count;
  if (bytes > kHeaderBytesMax - exchange->header_bytes) {
    exchange->too_large = true;
    return 0;
  }
  exchange->header_bytes += bytes;
  constexpr size_t kName = sizeof(kFlavor) - 1;
  if (bytes > kName && strncasecmp(data, kFlavor, kName) == 0) {
    exchange->answer.flavor = trim(std::string_view(data + kName, bytes - kName));
  }
  return bytes;
}

// The one place that every connection passes, whatever the URL or a resolver said.
curl_socket_t on_socket(void* user, curlsocktype, curl_sockaddr* address) {
  Exchange* const exchange = static_cast<Exchange*>(user);
  if (address->family != AF_INET) {
    exchange->refused = "another address than IPv4";
    return CURL_SOCKET_BAD;
  }
  sockaddr_in to;
  memcpy(&to, &address->addr, sizeof(to));
  const Ipv4 host = ntohl(to.sin_addr.s_addr);
  const bool link_local = (host >> 16) == 0xa9fe;
  const bool loopback = (host >> 24) == 127;
  if (!link_local && !loopback) {
    exchange->refused = format_ipv4(host);
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void set_limits(CURL* easy, const HttpLimits& limits) {
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
#else
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP));
#endif
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // "" also hides http_proxy of the environment
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect.count()));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(limits.total.count()));
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "machnet-nic");
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

std::string reason_of(CURLcode code, const Exchange& exchange, const char* text,
                      const HttpLimits& limits) {
  if (!exchange.refused.empty()) {
    return "not asked: it leads to " + exchange.refused + ", which is no metadata service";
  }
  if (exchange.too_large) {
    return "the answer is longer than " + std::to_string(limits.body_bytes_max) + " bytes";
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return "no answer within " +
           std::to_string((exchange.is_connected ? limits.total : limits.connect).count()) + " ms";
  }
  return "no answer (" + printable(text[0] != '\0' ? text : curl_easy_strerror(code), 120) + ")";
}

Result<HttpAnswer> ask_once(const HttpRequest& request, const HttpLimits& limits) {
  const Easy easy(curl_easy_init());
  if (!easy) return Error{"not asked: libcurl does not start"};
  Exchange exchange;
  exchange.body_bytes_max = limits.body_bytes_max;
  char text[CURL_ERROR_SIZE] = "";
  List headers;
  for (const std::string& header : request.headers) {
    curl_slist* const longer = curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return Error{"not asked: no memory"};
    (void)headers.release();  // `longer` begins with it
    headers.reset(longer);
  }
  set_limits(easy.get(), limits);
  curl_easy_setopt(easy.get(), CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, text);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETFUNCTION, on_socket);
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETDATA, &exchange);
  const CURLcode code = curl_easy_perform(easy.get());
  curl_off_t connect_us = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_CONNECT_TIME_T, &connect_us);
  exchange.is_connected = connect_us > 0;
  if (code != CURLE_OK) return Error{reason_of(code, exchange, text, limits)};
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &exchange.answer.status);
  return std::move(exchange.answer);
}

// Azure names 410, 429 and 5xx, Google 503, for "in a moment".
bool is_busy(long status) {
  return status == 410 || status == 429 || (status >= 500 && status <= 599);
}

}  // namespace

Result<HttpAnswer> http_ask(const HttpRequest& request, const HttpLimits& limits) {
  static const bool ready = curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK;
  if (!ready) return Error{"not asked: libcurl does not start"};
  for (int attempt = 1;; attempt++) {
    Result<HttpAnswer> answer = ask_once(request, limits);
    if (!answer || !is_busy(answer.value().status) || attempt >= limits.attempts) return answer;
    std::this_thread::sleep_for(limits.pause);
  }
}

}  // namespace mn::device
