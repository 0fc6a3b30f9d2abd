#include "net/http_client.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <netdb.h>
#include <optional>
#include <thread>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

namespace minke {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr size_t kChunk = 256 << 10;
constexpr size_t kMaxErrorBody = 64 << 10;
constexpr int kMaxInterim = 8;       // 1xx responses before the one that counts
constexpr size_t kMaxAddresses = 8;  // of one name

// Leaves a request from wherever it fails; caught in HttpClient::request.
struct Failed {
  HttpFailure failure;
  std::string detail;
};

std::string seconds(Clock::duration d) {
  return fmt::format("{:.3g} s", std::chrono::duration<double>(d).count());
}

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock ends with a zero
  out.resize(static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                 reinterpret_cast<const unsigned char*>(text.data()),
                                                 static_cast<int>(text.size()))));
  return out;
}

// The addresses of a name. getaddrinfo can neither be interrupted nor given a time limit, so it runs on a
// thread of its own, which is left behind with what it needs where the answer comes too late.
struct Lookup {
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  int error = 0;
  std::vector<tcp::endpoint> endpoints;
};

void look_up(const std::shared_ptr<Lookup>& lookup, const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  const std::lock_guard lock(lookup->mutex);
  lookup->error = error;
  for (const addrinfo* a = list; a && lookup->endpoints.size() < kMaxAddresses; a = a->ai_next) {
    tcp::endpoint endpoint;
    if (a->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), a->ai_addr, a->ai_addrlen);
    endpoint.resize(a->ai_addrlen);
    lookup->endpoints.push_back(endpoint);
  }
  if (list) ::freeaddrinfo(list);
  lookup->done = true;
  lookup->answered.notify_one();
}

// One connection: what is waited for on it ends with a result, the time limit or the cancellation.
class Connection {
 public:
  Connection(const HttpRequest& request, Clock::time_point deadline)
      : request_(request), deadline_(deadline), socket_(io_) {}

  tcp::socket& socket() { return socket_; }
  const HttpTimeouts& timeouts() const { return request_.timeouts; }

  void connect(const Url& to, Clock::time_point until) {
    const std::vector<tcp::endpoint> endpoints = resolve(to, until);
    std::string why = "it has no address";
    for (size_t i = 0; i < endpoints.size(); ++i) {
      // An address that swallows packets must leave time for the next one.
      const Clock::time_point now = Clock::now();
      const auto share = (until - now) / static_cast<int>(endpoints.size() - i);
      error_code ec;
      socket_.close(ec);
      try {
        ec = wait([&](auto handler) { socket_.async_connect(endpoints[i], std::move(handler)); }, now + share,
                  "connection");
      } catch (const Failed& failed) {
        if (failed.failure != HttpFailure::timeout || i + 1 == endpoints.size()) throw;
        why = failed.detail;
        continue;
      }
      if (!ec) {
        socket_.set_option(tcp::no_delay(true), ec);
        return;
      }
      why = ec.message();
    }
    throw Failed{HttpFailure::connect, fmt::format("cannot connect to {}: {}", to.authority(), why)};
  }

  // Starts an operation and runs it to its end. Returns its error; throws Failed for a time limit or the
  // cancellation.
  template <typename Start>
  error_code wait(Start start, Clock::time_point until, const char* awaited) {
    check_canceled();
    until = std::min(until, deadline_);
    const Clock::time_point begin = Clock::now();
    bool done = false;
    error_code result;
    start([&](error_code ec, auto&&...) {
      result = ec;
      done = true;
    });
    while (!done) {
      io_.restart();
      io_.run_one_for(std::clamp<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(0), kPoll));
      if (done) break;
      const bool late = Clock::now() >= until;
      if (!late && !canceled()) continue;
      abandon(done);
      check_canceled();
      throw Failed{HttpFailure::timeout, fmt::format("no {} within {}", awaited, seconds(until - begin))};
    }
    return result;
  }

 private:
  bool canceled() const { return request_.canceled && request_.canceled(); }
  void check_canceled() const {
    if (canceled()) throw Failed{HttpFailure::canceled, "canceled"};
  }
  // The handler refers to the caller's frame: it must have run before that is left.
  void abandon(const bool& done) {
    error_code ignored;
    socket_.close(ignored);
    while (!done) {
      io_.restart();
      io_.run_one();
    }
  }

  std::vector<tcp::endpoint> resolve(const Url& to, Clock::time_point until) const {
    error_code ec;
    const auto address = asio::ip::make_address(to.host, ec);
    if (!ec) return {tcp::endpoint(address, to.port)};
    const auto lookup = std::make_shared<Lookup>();
    std::thread(look_up, lookup, to.host, to.port).detach();
    until = std::min(until, deadline_);
    std::unique_lock lock(lookup->mutex);
    while (!lookup->done) {
      lookup->answered.wait_for(lock, kPoll);
      check_canceled();
      if (!lookup->done && Clock::now() >= until)
        throw Failed{HttpFailure::timeout, fmt::format("the name '{}' was not found in time", to.host)};
    }
    if (lookup->error != 0)
      throw Failed{HttpFailure::name,
                   fmt::format("cannot find the host '{}': {}", to.host, ::gai_strerror(lookup->error))};
    return std::move(lookup->endpoints);
  }

  const HttpRequest& request_;
  Clock::time_point deadline_;
  asio::io_context io_{1};
  tcp::socket socket_;
};

template <typename Stream>
void send(Connection& connection, Stream& stream, std::string_view text) {
  while (!text.empty()) {  // in pieces, so that the time limit is one for silence, not for length
    const std::string_view piece = text.substr(0, kChunk);
    const error_code ec = connection.wait(
        [&](auto handler) {
          asio::async_write(stream, asio::buffer(piece.data(), piece.size()), std::move(handler));
        },
        Clock::now() + connection.timeouts().idle, "progress in sending");
    if (ec)
      throw Failed{HttpFailure::broken, fmt::format("the connection ended while sending: {}", ec.message())};
    text.remove_prefix(piece.size());
  }
}

[[noreturn]] void receive_failed(const error_code& ec, const char* where) {
  using http::error;
  const bool ended = ec == error::end_of_stream || ec == error::partial_message || ec == asio::error::eof ||
                     ec == asio::ssl::error::stream_truncated ||
                     ec.category() == asio::error::get_system_category();
  if (ended)
    throw Failed{HttpFailure::broken, fmt::format("the connection ended in {}: {}", where, ec.message())};
  if (ec == error::body_limit) throw Failed{HttpFailure::malformed, "the body is longer than allowed here"};
  if (ec == error::header_limit)
    throw Failed{HttpFailure::malformed, "the header is longer than allowed here"};
  if (ec.category() == asio::error::get_ssl_category())
    throw Failed{HttpFailure::tls, fmt::format("TLS failed in {}: {}", where, ec.message())};
  throw Failed{HttpFailure::malformed,
               fmt::format("not a valid HTTP response ({} in {})", ec.message(), where)};
}

using Parser = http::response_parser<http::buffer_body>;

// Reads the header of the response that counts, past the interim ones.
template <typename Stream>
void receive_header(Connection& connection, Stream& stream, const HttpRequest& request,
                    boost::beast::flat_buffer& buffer, std::optional<Parser>& parser, bool without_body) {
  const auto until = Clock::now() + request.timeouts.idle;
  for (int i = 0; i <= kMaxInterim; ++i) {
    parser.emplace();
    parser->header_limit(static_cast<uint32_t>(request.max_header_bytes));
    parser->body_limit(boost::none);  // kept here: a status of failure may come with more, which is cut off
    parser->skip(without_body);
    const error_code ec = connection.wait(
        [&](auto handler) { http::async_read_header(stream, buffer, *parser, std::move(handler)); }, until,
        "answer");
    if (ec) receive_failed(ec, "the header");
    const unsigned status = parser->get().result_int();
    if (status == 101) break;
    if (status >= 200) return;
  }
  throw Failed{HttpFailure::malformed, "only interim responses came"};
}

void check_body(const HttpResponse& response, const HttpRequest& request, const Parser& parser) {
  const std::string* coding = response.header("Content-Encoding");
  if (coding && !coding->empty() && !same_letters(*coding, "identity"))
    throw Failed{
        HttpFailure::malformed,
        fmt::format("the body is compressed ({}) though that was not asked for", printable(*coding, 40))};
  const auto length = parser.content_length();
  if (length && *length > request.max_body)
    throw Failed{HttpFailure::malformed,
                 fmt::format("a body of {} bytes, at most {} are allowed here", *length, request.max_body)};
}

template <typename Stream>
void receive_body(Connection& connection, Stream& stream, const HttpRequest& request,
                  boost::beast::flat_buffer& buffer, Parser& parser, HttpResponse& response) {
  const bool wanted = response.ok();
  if (wanted && !parser.is_done()) check_body(response, request, parser);
  std::string chunk(kChunk, '\0');
  uint64_t received = 0, in_window = 0;
  Clock::time_point window = Clock::now();
  while (!parser.is_done()) {
    parser.get().body().data = chunk.data();
    parser.get().body().size = chunk.size();
    const error_code ec = connection.wait(
        [&](auto handler) { http::async_read_some(stream, buffer, parser, std::move(handler)); },
        window + request.timeouts.idle, "further data");
    const size_t n = chunk.size() - parser.get().body().size;
    received += n;
    in_window += n;
    if (in_window >= request.timeouts.idle_bytes) {
      window = Clock::now();
      in_window = 0;
    }
    if (wanted && received > request.max_body)
      throw Failed{HttpFailure::malformed,
                   fmt::format("a body of more than the {} bytes allowed here", request.max_body)};
    if (wanted && request.on_body) {
      if (n > 0) request.on_body(response, as_bytes({chunk.data(), n}));
    } else {
      response.body.append(chunk.data(), wanted ? n : std::min(n, kMaxErrorBody - response.body.size()));
      if (!wanted && response.body.size() == kMaxErrorBody) return;
    }
    if (ec && ec != http::error::need_buffer) receive_failed(ec, "the body");
  }
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Where the response leads, if it is a redirect that is followed; empty where it is the answer.
std::optional<Url> redirect_target(const HttpRequest& request, const Url& url, const HttpResponse& response) {
  if (!is_redirect(response.status) || request.redirects == Redirects::none) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  const std::string* location = response.header("Location");
  if (!location) return std::nullopt;
  Url target;
  try {
    target = resolve_reference(url, *location);
  } catch (const Error& e) {
    throw Failed{HttpFailure::redirect, fmt::format("redirected to '{}': {}", e.subject(), e.happened())};
  }
  if (request.redirects == Redirects::same_origin && target.origin() != url.origin()) return std::nullopt;
  if (url.tls() && !target.tls())
    throw Failed{HttpFailure::redirect,
                 fmt::format("redirected from https to {}, which is not encrypted", target.origin())};
  return target;
}

template <typename Stream>
void exchange(Connection& connection, Stream& stream, const HttpRequest& request, const Url& url,
              const std::string& header, HttpResponse& response) {
  send(connection, stream, header);
  send(connection, stream, request.body);
  boost::beast::flat_buffer buffer;
  buffer.reserve(kChunk);  // what is free in it is what is read at once
  std::optional<Parser> parser;
  receive_header(connection, stream, request, buffer, parser, request.method == "HEAD");
  response.status = static_cast<int>(parser->get().result_int());
  response.reason = parser->get().reason();
  for (const auto& field : parser->get()) response.headers.emplace_back(field.name_string(), field.value());
  if (!redirect_target(request, url, response))
    receive_body(connection, stream, request, buffer, *parser, response);
}

std::string proxy_authorization(const Url& proxy) {
  if (proxy.user_info.empty()) return {};
  return fmt::format("Proxy-Authorization: Basic {}\r\n", base64(percent_decode(proxy.user_info)));
}

// Asks the proxy for a connection to the host (RFC 9110 section 9.3.6).
void open_tunnel(Connection& connection, const HttpRequest& request, const Url& proxy, const Url& url) {
  const std::string host = url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
  send(connection, connection.socket(),
       fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n{2}\r\n", host, url.port,
                   proxy_authorization(proxy)));
  boost::beast::flat_buffer buffer;
  std::optional<Parser> parser;
  receive_header(connection, connection.socket(), request, buffer, parser, true);
  const auto& answer = parser->get();
  if (answer.result_int() < 200 || answer.result_int() > 299)
    throw Failed{
        HttpFailure::connect,
        fmt::format("the proxy {} answered {} {}", proxy.authority(), answer.result_int(),
                    printable(std::string_view(answer.reason().data(), answer.reason().size()), 80))};
  if (buffer.size() > 0) throw Failed{HttpFailure::malformed, "the proxy spoke before TLS began"};
}

void start_tls(Connection& connection, asio::ssl::stream<tcp::socket&>& stream, const Url& url,
               Clock::time_point until) {
  SSL* const ssl = stream.native_handle();
  X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl);
  error_code not_an_address;
  asio::ip::make_address(url.host, not_an_address);
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool set = not_an_address
                       ? X509_VERIFY_PARAM_set1_host(expected, url.host.c_str(), url.host.size()) == 1 &&
                             SSL_set_tlsext_host_name(ssl, url.host.c_str()) == 1
                       : X509_VERIFY_PARAM_set1_ip_asc(expected, url.host.c_str()) == 1;
  if (!set) throw Failed{HttpFailure::tls, "TLS cannot be asked to verify this host"};
  stream.set_verify_mode(asio::ssl::verify_peer);
  const error_code ec = connection.wait(
      [&](auto handler) { stream.async_handshake(asio::ssl::stream_base::client, std::move(handler)); },
      until, "TLS handshake");
  if (!ec) return;
  const long verdict = SSL_get_verify_result(ssl);
  if (verdict != X509_V_OK)
    throw Failed{HttpFailure::tls, fmt::format("the certificate of {} is not accepted: {}", url.host,
                                               X509_verify_cert_error_string(verdict))};
  if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
      ec == asio::error::connection_reset)
    throw Failed{HttpFailure::broken, "the connection ended during the TLS handshake"};
  throw Failed{HttpFailure::tls, fmt::format("TLS handshake failed: {}", ec.message())};
}

bool is_own_header(std::string_view name) {
  for (const char* own :
       {"Host", "User-Agent", "Accept-Encoding", "Connection", "Content-Length", "Transfer-Encoding"})
    if (same_letters(name, own)) return true;
  return false;
}

bool is_secret_header(std::string_view name) {
  return same_letters(name, "Authorization") || same_letters(name, "Cookie");
}

// The request line and header for one host on the way.
std::string header_text(const HttpOptions& options, const HttpRequest& request, const Url& url,
                        const std::optional<Url>& proxy, bool with_secrets) {
  const bool absolute = proxy && !url.tls();
  std::string text = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept-Encoding: identity\r\nConnection: close\r\n",
      request.method, absolute ? url.text() : url.target, url.authority(), options.user_agent);
  if (absolute) text += proxy_authorization(*proxy);
  for (const auto& [name, value] : request.headers)
    if (with_secrets || !is_secret_header(name)) text += fmt::format("{}: {}\r\n", name, value);
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD"))
    text += fmt::format("Content-Length: {}\r\n", request.body.size());
  return text + "\r\n";
}

void check_request(const HttpOptions& options, const HttpRequest& request) {
  check_header(request.method, "");
  check_header("User-Agent", options.user_agent);
  for (const auto& [name, value] : request.headers) {
    check_header(name, value);
    MINKE_CHECK(!is_own_header(name), "header {} is the client's", name);
  }
}

std::string without_query(std::string_view url) { return std::string(url.substr(0, url.find('?'))); }

}  // namespace

struct HttpClient::Impl {
  HttpOptions options;
  mutable asio::ssl::context tls{asio::ssl::context::tls_client};

  void exchange_with(const Url& url, const HttpRequest& request, Clock::time_point deadline,
                     bool with_secrets, HttpResponse& response) const {
    const std::optional<Url> proxy = proxy_for(options.proxies, url);
    const Clock::time_point until = Clock::now() + request.timeouts.connect;
    Connection connection(request, deadline);
    connection.connect(proxy ? *proxy : url, until);
    const std::string header = header_text(options, request, url, proxy, with_secrets);
    if (!url.tls()) return exchange(connection, connection.socket(), request, url, header, response);
    if (proxy) open_tunnel(connection, request, *proxy, url);
    asio::ssl::stream<tcp::socket&> stream(connection.socket(), tls);
    start_tls(connection, stream, url, until);
    exchange(connection, stream, request, url, header, response);
  }
};

HttpClient::HttpClient(HttpOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  SSL_CTX* const context = impl_->tls.native_handle();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_default_verify_paths(context);  // without certificates every https request fails, and says why
  const fs::path& file = impl_->options.ca_file;
  if (!file.empty() && SSL_CTX_load_verify_file(context, file.c_str()) != 1) {
    ERR_clear_error();
    throw Error("cannot be read as PEM certificates", file.string());
  }
}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::request(const HttpRequest& request) const {
  check_request(impl_->options, request);
  const HttpTimeouts& timeouts = request.timeouts;
  const Clock::time_point deadline =
      timeouts.total.count() > 0 ? Clock::now() + timeouts.total : Clock::time_point::max();
  Url url = parse_url(request.url);
  const std::string origin = url.origin();
  bool with_secrets = true;
  HttpResponse response;
  for (int hops = 0;; ++hops) {
    response = {};
    response.url = url.text();
    with_secrets =
        with_secrets && url.origin() == origin;  // another origin that leads back does not get them either
    try {
      impl_->exchange_with(url, request, deadline, with_secrets, response);
      const std::optional<Url> next = redirect_target(request, url, response);
      if (!next) return response;
      if (hops == request.max_redirects)
        throw Failed{HttpFailure::redirect,
                     fmt::format("redirected more than {} times", request.max_redirects)};
      url = *next;
    } catch (const Failed& failed) {
      response.failure = failed.failure;
      response.detail = failed.detail;
      return response;
    }
  }
}

Error http_error(const HttpResponse& response) {
  const std::string url = printable(without_query(response.url), 300);
  switch (response.failure) {
    case HttpFailure::none: break;
    case HttpFailure::name:
    case HttpFailure::connect:
      return Error(response.detail, url, "is there a network, and does it need a proxy?");
    case HttpFailure::tls:
      return Error(response.detail, url,
                   "a certificate authority of your own is trusted through SSL_CERT_FILE");
    default: return Error(response.detail, url);
  }
  std::string happened = fmt::format("HTTP {} {}", response.status, printable(response.reason, 80));
  if (!response.body.empty()) happened += ": " + printable(response.body, 200);
  return Error(std::move(happened), url);
}

}  // namespace minke
