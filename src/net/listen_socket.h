#pragma once
// Sockets that listen, each closed with its object; the file of a Unix socket goes with it.

#include <string>
#include <sys/socket.h>
#include <vector>

#include "net/http_server.h"

namespace minke {

class ListenSocket {
 public:
  // Throw Error naming `name`, or the path: in use, no permission, no such address. The socket file of a
  // server that is dead is replaced.
  ListenSocket(const sockaddr* address, socklen_t size, const std::string& name);
  explicit ListenSocket(const fs::path& path);
  ListenSocket(ListenSocket&& other) noexcept;
  ~ListenSocket();

  int fd() const { return fd_; }
  uint16_t port() const;  // 0 where it has none

 private:
  void open(int family);
  void remember_file();

  int fd_ = -1;
  fs::path path_;
  uint64_t device_ = 0, inode_ = 0;  // of the file at path_: one that another server made since is left alone
};

// At each address of the host, or at the path. Throws Error, also where the name is not found.
std::vector<ListenSocket> listen_on(const HttpListen& where);

}  // namespace minke
