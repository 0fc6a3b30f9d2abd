#include "formats/hf_folder.h"

#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace minke {
namespace {

const fs::path kModel = fs::path(MINKE_TESTS_DIR) / "golden/models/qwen2";

// A model folder to which files are added.
class HfFolderTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  void SetUp() override {
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(kModel / file, folder_ / file);
  }
  void write(const char* file, std::string_view text) { write_text(folder_ / file, text); }
  HfFolder open() { return HfFolder::open(folder_.path()); }
  std::string refusal() {
    return error_of([&] { open(); });
  }
};

TEST_F(HfFolderTest, ConfigAndWeightsAreEnough) {
  const HfFolder model = open();
  EXPECT_EQ(model.path, folder_.path());
  EXPECT_EQ(model.config.at("model_type").as_string(), "qwen2");
  EXPECT_TRUE(model.weights.tensor("model.embed_tokens.weight"));
  EXPECT_FALSE(model.tokenizer);
  EXPECT_FALSE(model.tokenizer_config);
  EXPECT_TRUE(model.generation.eos_ids.empty());
  EXPECT_FALSE(model.generation.temperature);
  EXPECT_TRUE(model.chat_templates.empty());
  EXPECT_EQ(model.licence, "");
  EXPECT_TRUE(model.licence_files.empty());
}

TEST_F(HfFolderTest, ReadsAllThereIs) {
  write("tokenizer.json", "{}");
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "old"})");
  write("generation_config.json",
        R"({"eos_token_id": [7, 8], "do_sample": true, "temperature": 0.6, "top_p": 1,
                                      "top_k": 20, "min_p": null, "repetition_penalty": 1.05, "unknown": {}})");
  write("chat_template.jinja", "{{ messages }}");
  write("LICENSE", "x");
  write("License-CODE.txt", "x");
  write("README.md", "---\nlanguage:\n- en\nlicense: 'apache-2.0'\r\n---\nlicense: none\n");
  const HfFolder model = open();
  EXPECT_EQ(model.tokenizer, folder_ / "tokenizer.json");
  EXPECT_EQ(model.tokenizer_config->at("bos_token").as_string(), "<s>");
  EXPECT_EQ(model.generation.eos_ids, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(model.generation.sample, true);
  EXPECT_EQ(model.generation.temperature, 0.6);
  EXPECT_EQ(model.generation.top_p, 1.0);
  EXPECT_EQ(model.generation.top_k, 20);
  EXPECT_EQ(model.generation.min_p, std::nullopt);
  EXPECT_EQ(model.generation.repetition_penalty, 1.05);
  EXPECT_EQ(model.chat_templates, (std::map<std::string, std::string>{{"default", "{{ messages }}"}}));
  EXPECT_EQ(model.licence, "apache-2.0");
  EXPECT_EQ(model.licence_files, (std::vector<fs::path>{folder_ / "LICENSE", folder_ / "License-CODE.txt"}));
}

TEST_F(HfFolderTest, TemplatesComeFromTheNewestKindOfFile) {
  using Templates = std::map<std::string, std::string>;
  write("tokenizer_config.json", R"({"chat_template": "a"})");
  EXPECT_EQ(open().chat_templates, (Templates{{"default", "a"}}));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "b"},
                                                       {"name": "tool_use", "template": "c"}]})");
  EXPECT_EQ(open().chat_templates, (Templates{{"default", "b"}, {"tool_use", "c"}}));
  write("chat_template.json", R"({"chat_template": "d"})");
  EXPECT_EQ(open().chat_templates, (Templates{{"default", "d"}}));
  write("chat_template.jinja", "e");
  EXPECT_EQ(open().chat_templates, (Templates{{"default", "e"}}));
}

TEST_F(HfFolderTest, OneEosIdIsAList) {
  write("generation_config.json", R"({"eos_token_id": 5})");
  EXPECT_EQ(open().generation.eos_ids, std::vector<int64_t>{5});
  write("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_TRUE(open().generation.eos_ids.empty());
}

TEST_F(HfFolderTest, OnlyFrontMatterNamesALicence) {
  for (const char* card :
       {"", "---", "license: mit\n", "# Title\n---\nlicense: mit\n---\n", "---\ntitle: x\n---\nlicense: mit",
        "---\nlicense:\n---\n", "---\n  license: mit\n---\n"}) {
    write("README.md", card);
    EXPECT_EQ(open().licence, "") << card;
  }
  write("README.md", "---\nlicense: \"mit\"");
  EXPECT_EQ(open().licence, "mit");
}

TEST_F(HfFolderTest, BadFilesAreNamed) {
  const auto says = [&](const char* file, std::string_view text, std::string_view what) {
    write(file, text);
    const std::string error = refusal();
    expect_says(error, (folder_ / file).string());
    expect_says(error, what);
    fs::remove(folder_ / file);
  };
  says("config.json", "[1]", "expected object, found array (download the file again)");
  fs::copy_file(kModel / "config.json", folder_ / "config.json");
  says("generation_config.json", "", "JSON");
  says("generation_config.json", R"({"temperature": "hot"})",
       "field 'temperature': expected number, found string");
  says("generation_config.json", R"({"eos_token_id": ["</s>"]})", "field 'eos_token_id': expected integer");
  says("tokenizer_config.json", "3", "expected object, found integer");
  says("tokenizer_config.json", R"({"chat_template": 1})", "field 'chat_template': expected string");
  says("tokenizer_config.json", R"({"chat_template": [{"name": "x"}]})", "missing key 'template'");
  says("chat_template.json", "{", "JSON");
}

TEST_F(HfFolderTest, WhatIsMissingIsNamedWithTheWayOut) {
  fs::remove(folder_ / "model.safetensors");
  expect_says(refusal(), folder_.path().string() + ": holds neither model.safetensors");
  fs::remove(folder_ / "config.json");
  expect_says(refusal(), "holds no config.json (name a folder that holds a whole model)");
  write("m.gguf", "");
  expect_says(refusal(), "to run the GGUF file in it, name the file itself");
  expect_says(error_of([&] { HfFolder::open(folder_ / "absent"); }), "absent: cannot list the folder");
}

TEST_F(HfFolderTest, SpoiltFilesDoNoHarm) {
  write("generation_config.json",
        R"({"eos_token_id": [7, 8], "do_sample": true, "temperature": 0.6, "top_p": 1})");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "b"}]})");
  write("README.md", "---\nlicense: mit\n---\n");
  for (const char* file : {"generation_config.json", "tokenizer_config.json", "README.md", "config.json"}) {
    const std::string text = read_file(folder_ / file);
    const auto use = [&](Bytes spoilt) {
      write(file, as_text(spoilt));
      try {
        open();
      } catch (const Error& e) {
        EXPECT_TRUE(e.subject().starts_with((folder_ / file).string())) << e.what();
        throw e.within("sample");
      }
    };
    turn_bits(text, text.size(), 50, use);
    if (file != std::string_view("README.md")) cut_everywhere(text.substr(0, text.rfind('}') + 1), 16, use);
    write(file, text);
  }
}

}  // namespace
}  // namespace minke
