#pragma once
// One file of the hub into a partial file that a later attempt goes on with, verified at its end.

#include <functional>

#include "hub/hub_client.h"

namespace minke {

struct Download {
  std::string repo, commit, path;
  uint64_t size = 0;
  std::string sha256, git_blob;  // what the content must have; empty: not known
  fs::path partial;              // named after the content, so that what lies there can only be its beginning
};

enum class PullPhase {
  checking,  // reading what an earlier attempt left
  waiting,   // another process fetches this file
  fetching,
  done,
};

// Fetches what is missing and verifies the whole; then partial is the file, synced. A passing failure is
// retried; where that does not help Error is thrown, and what was fetched stays for the next time. Content
// that is not what was promised is removed. progress: bytes there so far; may throw. Returns the bytes that
// came over the network.
uint64_t download(const Hub& hub, const Download& wanted,
                  const std::function<void(PullPhase, uint64_t)>& progress);

}  // namespace minke
