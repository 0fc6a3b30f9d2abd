#include "net/http_server.h"

#include "net/http_connection.h"
#include "net/server_core.h"
#include "net/server_stream.h"

namespace minke {
namespace {

constexpr int kIoThreads = 2;

}  // namespace

struct HttpServer::Impl {
  explicit Impl(HttpServerOptions options)
      : core(std::make_shared<ServerCore>(std::move(options))),
        streams(core->options().listen, kIoThreads,
                [this](std::shared_ptr<ServerStream> stream) { core->accept(std::move(stream)); }) {}
  ~Impl() {
    streams.stop_listening();
    core->stop();
  }

  std::shared_ptr<ServerCore> core;
  StreamServer streams;
};

HttpServer::HttpServer(HttpServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const { return impl_->streams.port(); }
int HttpServer::connections() const { return impl_->core->connections(); }

bool HttpServer::drain(std::chrono::milliseconds longest) {
  impl_->streams.stop_listening();
  return impl_->core->drain(longest);
}

}  // namespace minke
