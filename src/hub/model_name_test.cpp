#include "hub/model_name.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

TEST(ModelName, IsTakenApart) {
  const ModelName plain = parse_model_name("org/Name-1.5_x");
  EXPECT_EQ(plain.repo, "org/Name-1.5_x");
  EXPECT_EQ(plain.select, "");
  EXPECT_EQ(plain.revision, "");
  const ModelName full = parse_model_name("hf:org/name:UD/model-Q4_K_M.gguf@refs/pr/1");
  EXPECT_EQ(full.repo, "org/name");
  EXPECT_EQ(full.select, "UD/model-Q4_K_M.gguf");
  EXPECT_EQ(full.revision, "refs/pr/1");
  EXPECT_EQ(full.text(), "org/name:UD/model-Q4_K_M.gguf@refs/pr/1");
  EXPECT_EQ(parse_model_name("hf://org/name@v1").revision, "v1");
  EXPECT_EQ(parse_model_name("hf:gpt2").text(), "hf:gpt2");
  EXPECT_EQ(parse_model_name("hf:gpt2").repo, "gpt2");
}

TEST(ModelName, OthersAreRefused) {
  for (const char* text : {"",
                           "name",
                           "./name",
                           "/org/name",
                           "org/",
                           "/name",
                           "a/b/c",
                           "org/na me",
                           "org/na--me",
                           "org/na..me",
                           "org/-name",
                           "org/name.git",
                           "../name",
                           "org/..",
                           "org/name:",
                           "org/name@",
                           "org/name:../x",
                           "org/name:/etc/passwd",
                           "org/name:a//b",
                           "org/name:a\\b",
                           "org/name@../../x",
                           "org/name@a\nb",
                           "hf:",
                           "hf:../x",
                           "org/n\xc3\xa4me",
                           "https://huggingface.co/org/name",
                           "org/name:a/."})
    EXPECT_FALSE(is_model_name(text)) << text;
  EXPECT_FALSE(is_model_name("org/" + std::string(97, 'x')));
}

TEST(ModelName, FilesOfTheHubStayInTheirFolder) {
  for (const char* path : {"a", "a/b.gguf", "onnx/model (1).bin", ".gitattributes", "x\xc3\xa4.txt"})
    EXPECT_NO_THROW(check_repo_path(path)) << path;
  for (const char* path :
       {"", "/etc/passwd", "../x", "a/../../x", "a/..", ".", "a//b", "a/", "..\\x", "a\\b", "a\nb", "a\x7f"})
    EXPECT_THROW(check_repo_path(path), Error) << path;
  EXPECT_THROW(check_repo_path(std::string_view("a\0b", 3)), Error);
  EXPECT_THROW(check_repo_path(std::string(256, 'x')), Error);
}

}  // namespace
}  // namespace minke
