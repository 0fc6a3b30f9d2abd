#include "net/listen_socket.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "net/server_fixture.h"

namespace minke {
namespace {

using namespace std::chrono_literals;

HttpServerOptions at(const fs::path& path) {
  HttpServerOptions options = serving();
  options.listen.unix_socket = path;
  return options;
}

std::string refusal(const HttpListen& listen) {
  try {
    const auto sockets = listen_on(listen);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

fs::path fresh_folder(const std::string& name) {
  const fs::path folder = fs::path(::testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

TEST(ListenSocket, ListensWhereItIsTold) {
  for (const char* host : {"127.0.0.1", "localhost", "0.0.0.0"}) {
    HttpServerOptions options = serving();
    options.listen.host = host;
    HttpServer server(std::move(options));
    EXPECT_EQ(HttpProbe(server.port()).ask(request_text("GET", "/")).status, 200) << host;
  }
}

TEST(ListenSocket, Version6AddressesMayHaveBrackets) {
  if (!fs::exists("/proc/net/if_inet6")) GTEST_SKIP() << "there is no IPv6";
  for (const char* host : {"::1", "[::1]"}) {
    const std::string message = refusal({.host = host});
    EXPECT_TRUE(message.empty() || message.starts_with("[::1]:0: ")) << message;
  }
}

TEST(ListenSocket, NamesWhereItCannot) {
  const auto sockets = listen_on({});
  const std::string used = refusal({.port = sockets[0].port()});
  EXPECT_EQ(
      used,
      fmt::format("127.0.0.1:{}: cannot listen: Address already in use (is another server running there?)",
                  sockets[0].port()));
  EXPECT_TRUE(refusal({.host = "203.0.113.1", .port = 80}).starts_with("203.0.113.1:80: cannot listen"));
  EXPECT_TRUE(refusal({.host = "no-such-host.invalid"}).starts_with("no-such-host.invalid: cannot listen"));
  EXPECT_NE(refusal({.host = ""}), "");
}

TEST(ListenSocket, APortIsFreeAgainAfterItsServer) {
  uint16_t port = 0;
  for (int i = 0; i < 3; ++i) {
    HttpServerOptions options = serving();
    options.listen.port = port;
    HttpServer server(std::move(options));
    port = server.port();
    EXPECT_EQ(HttpProbe(port).ask("GET / HTTP/1.0\r\n\r\n").status,
              200);  // the server ends the connection first
  }
}

TEST(ListenSocket, ServesAUnixSocket) {
  const fs::path folder = fresh_folder("unix"), path = folder / "s";
  {
    HttpServer server(at(path));
    struct stat info{};
    ASSERT_EQ(::lstat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    EXPECT_EQ(server.port(), 0);
    EXPECT_EQ(HttpProbe(path.string()).ask(request_text("GET", "/x")).body, "GET /x? ");
    EXPECT_THROW(HttpServer second(at(path)), Error);  // and the first goes on
    EXPECT_EQ(HttpProbe(path.string()).ask(request_text("GET", "/x")).status, 200);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(ListenSocket, ReplacesTheSocketOfADeadServer) {
  const fs::path folder = fresh_folder("dead"), path = folder / "s";
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);  // as a server ends that is killed
  ASSERT_TRUE(fs::exists(path));
  HttpServer server(at(path));
  EXPECT_EQ(HttpProbe(path.string()).ask(request_text("GET", "/")).status, 200);
}

TEST(ListenSocket, LeavesOtherFilesAlone) {
  const fs::path folder = fresh_folder("others");
  write_file(folder / "file", "precious");
  EXPECT_EQ(refusal({.unix_socket = folder / "file"}),
            (folder / "file").string() + ": it exists and is no socket");
  EXPECT_EQ(read_file(folder / "file"), "precious");
  EXPECT_NE(refusal({.unix_socket = folder / "none" / "s"}), "");
  EXPECT_NE(refusal({.unix_socket = folder / std::string(200, 'x')}), "");
  {
    HttpServer server(at(folder / "s"));
    fs::remove(folder / "s");
    write_file(folder / "s", "another's");
  }
  EXPECT_EQ(read_file(folder / "s"), "another's");
}

TEST(ListenSocket, DrainingFreesPathAndPort) {
  const fs::path folder = fresh_folder("drain"), path = folder / "s";
  HttpServer server(at(path));
  EXPECT_TRUE(server.drain(1s));
  EXPECT_TRUE(eventually([&] { return !fs::exists(path); }));
  HttpServer next(at(path));
  EXPECT_EQ(HttpProbe(path.string()).ask(request_text("GET", "/")).status, 200);
}

}  // namespace
}  // namespace minke
