#include "net/listen_socket.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"

namespace minke {
namespace {

// An address that no interface of this machine has.
struct NotHere : Error {
  using Error::Error;
};

[[noreturn]] void cannot_listen(int error, const std::string& name) {
  const std::string happened = fmt::format("cannot listen: {}", std::strerror(error));
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT)
    throw NotHere(happened, name, "it is no address of this machine");
  if (error == EADDRINUSE) throw Error(happened, name, "is another server running there?");
  throw Error(happened, name, error == EACCES ? "it takes a privilege" : "");
}

// Of a folder, so that two servers that start at once do not take each other's socket for a dead one's. Who
// else holds it for longer than a second has another reason.
struct FolderLock {
  explicit FolderLock(const fs::path& folder)
      : fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; fd >= 0 && i < 100 && ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

sockaddr_un unix_address(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path)
    throw Error(fmt::format("the path of a socket has at most {} bytes", sizeof address.sun_path - 1), text);
  std::memcpy(address.sun_path, text.data(), text.size());
  return address;
}

// Whether a server answers there; throws Error where the path is something else than a socket.
bool is_alive(const fs::path& path, const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return false;
  if (!S_ISSOCK(info.st_mode)) throw Error("it exists and is no socket", path.string());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) cannot_listen(errno, path.string());
  const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool refused = result != 0 && errno == ECONNREFUSED;
  ::close(fd);
  return !refused;
}

uint16_t* port_field(sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return &reinterpret_cast<sockaddr_in&>(address).sin_port;
  if (address.ss_family == AF_INET6) return &reinterpret_cast<sockaddr_in6&>(address).sin6_port;
  return nullptr;
}

// The addresses of a name, each once, with the port.
std::vector<std::pair<sockaddr_storage, socklen_t>> addresses_of(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (error != 0)
    throw Error(fmt::format("cannot listen: {}", ::gai_strerror(error)), host,
                "an address of this machine is expected");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> held(list, ::freeaddrinfo);
  std::vector<std::pair<sockaddr_storage, socklen_t>> found;
  for (const addrinfo* a = list; a; a = a->ai_next) {
    sockaddr_storage address{};
    std::memcpy(&address, a->ai_addr, a->ai_addrlen);
    bool known = false;
    for (const auto& [other, size] : found)
      known = known || std::memcmp(&other, &address, sizeof address) == 0;
    if (!known) found.emplace_back(address, a->ai_addrlen);
  }
  return found;
}

}  // namespace

void ListenSocket::open(int family) { fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

ListenSocket::ListenSocket(const sockaddr* address, socklen_t size, const std::string& name) {
  open(address->sa_family);
  const int on = 1;
  if (fd_ < 0 || ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd_, address, size) != 0 || ::listen(fd_, SOMAXCONN) != 0) {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    cannot_listen(error, name);
  }
}

ListenSocket::ListenSocket(const fs::path& path) : path_(fs::absolute(path)) {
  const sockaddr_un address = unix_address(path);
  const FolderLock lock(path_.parent_path());
  if (is_alive(path, address)) cannot_listen(EADDRINUSE, path.string());
  ::unlink(path.c_str());
  open(AF_UNIX);
  // The mode of the socket becomes the file's: at no moment can others connect.
  if (fd_ < 0 || ::fchmod(fd_, 0600) != 0 ||
      ::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd_, SOMAXCONN) != 0) {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    cannot_listen(error, path.string());
  }
  remember_file();
}

void ListenSocket::remember_file() {
  struct stat info{};
  if (::lstat(path_.c_str(), &info) != 0) return path_.clear();
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ListenSocket::~ListenSocket() {
  struct stat info{};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_)
    ::unlink(path_.c_str());
  if (fd_ >= 0) ::close(fd_);
}

uint16_t ListenSocket::port() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  const uint16_t* field = port_field(address);
  return field ? ntohs(*field) : 0;
}

std::vector<ListenSocket> listen_on(const HttpListen& where) {
  std::vector<ListenSocket> sockets;
  if (!where.unix_socket.empty()) {
    sockets.emplace_back(where.unix_socket);
    return sockets;
  }
  std::string host = where.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const bool v6 = host.find(':') != std::string::npos;
  const std::string name = fmt::format("{}:{}", v6 ? "[" + host + "]" : host, where.port);
  if (host.empty()) throw Error("cannot listen: there is no host", name);
  std::optional<NotHere> not_here;  // passed over where the name has another address
  for (auto& [address, size] : addresses_of(host, where.port)) {
    if (!sockets.empty()) *port_field(address) = htons(sockets.front().port());
    try {
      sockets.emplace_back(reinterpret_cast<const sockaddr*>(&address), size, name);
    } catch (const NotHere& e) {
      not_here = e;
    }
  }
  if (sockets.empty()) throw not_here.value();
  return sockets;
}

}  // namespace minke
