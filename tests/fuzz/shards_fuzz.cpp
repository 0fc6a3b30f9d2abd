// room: train
// Any bytes with a header's checksum are a token shard all of whose rows can be read, or are refused with an
// Error.

#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "train/shards.h"

namespace {

// A file that is memory only, by its path.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : fd_(::memfd_create("shard", 0)) {
    MINKE_CHECK(fd_ >= 0 && ::write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~MemoryFile() { ::close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

constexpr size_t kHeader = 120, kChecksum = 104;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size >= kHeader) {  // else nothing behind the checksum would ever be reached
    std::memset(bytes.data() + kChecksum, 0, 16);
    const XXH128_hash_t h = XXH3_128bits(bytes.data(), kHeader);
    std::memcpy(bytes.data() + kChecksum, &h.high64, 8);
    std::memcpy(bytes.data() + kChecksum + 8, &h.low64, 8);
  }
  const MemoryFile file(bytes);
  try {
    const minke::TokenShards shards =
        minke::TokenShards::open(file.path(), "train", {.check_content = false});
    constexpr int kLength = 7;
    int64_t learned = 0;
    for (int64_t r = 0; r < shards.rows(kLength); ++r) {
      minke::TokenRow row;
      shards.read(r, kLength, 1, row);
      MINKE_CHECK(row.tokens.size() == kLength + 1 && row.loss.size() == kLength + 1 && row.starts[0] == 0);
      for (const minke::Token token : row.tokens) MINKE_CHECK(token >= 0 && token < shards.set().vocab);
      for (int i = 1; i <= kLength; ++i) learned += row.loss[static_cast<size_t>(i)];
    }
    MINKE_CHECK(learned == shards.learned());
  } catch (const minke::Error&) {
  }
  return 0;
}
