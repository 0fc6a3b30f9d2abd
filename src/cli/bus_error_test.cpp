#include "cli/bus_error.h"

#include <csignal>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"

namespace minke {
namespace {

TEST(BusError, NamesTheFileThatBecameShorter) {
  const fs::path path = fs::temp_directory_path() / ("minke-bus-error-test-" + std::to_string(::getpid()));
  write_file(path, std::string(1 << 20, 'x'));
  const MappedFile file(path);
  EXPECT_EXIT(
      {
        explain_bus_errors();
        fs::resize_file(path, 10);
        const volatile std::byte* last = &file.bytes()[file.bytes().size() - 1];
        ::_exit(*last == std::byte{0} ? 3 : 4);
      },
      testing::ExitedWithCode(1), "minke: .*minke-bus-error-test-.*became shorter");
  fs::remove(path);
}

}  // namespace
}  // namespace minke
