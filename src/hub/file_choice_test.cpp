#include "hub/file_choice.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

using Names = std::vector<std::string>;

TEST(QuantInName, IsFoundAsPeopleWriteIt) {
  const std::pair<const char*, const char*> cases[] = {
      {"DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", "Q4_K_M"},
      {"qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"},
      {"SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"},
      {"DeepSeek-R1-Q8_0/DeepSeek-R1.Q8_0-00001-of-00015.gguf", "Q8_0"},
      {"UD-Q2_K_XL/DeepSeek-V3.1-UD-Q2_K_XL-00001-of-00006.gguf", "UD-Q2_K_XL"},
      {"DeepSeek-R1-UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "UD-IQ1_S"},
      {"BF16/model-00001-of-00030.gguf", "BF16"},
      {"model-fp16.gguf", "F16"},
      {"gpt-oss-20b-mxfp4.gguf", "MXFP4"},
      {"Qwen3-30B-A3B-MXFP4_MOE.gguf", "MXFP4_MOE"},
      {"my_model_q5_k_s.gguf", "Q5_K_S"},
      {"model.i1-IQ3_XXS.gguf", "IQ3_XXS"},
      {"model-TQ1_0.gguf", "TQ1_0"},
      {"ggml-model-Q4_0_4_8.gguf", "Q4_0_4_8"},
      {"Llama-3-8B-Q8_0-imat.gguf", "Q8_0"},
      {"Qwen2-7B.gguf", ""},
      {"model.gguf", ""},
      {"_.gguf", ""},
      {"", ""}};
  for (const auto& [path, quant] : cases) EXPECT_EQ(quant_in_name(path), quant) << path;
}

TEST(GgufModels, PartsOfASplitAreOneModel) {
  const auto models =
      gguf_models({"README.md", "b-Q8_0-00002-of-00002.gguf", "mmproj-F16.gguf", "a-Q4_K_M.gguf",
                   "b-Q8_0-00001-of-00002.gguf", "c-00001-of-00003.gguf", "x.imatrix.gguf", "Q2_K/d.GGUF"});
  ASSERT_EQ(models.size(), 4u);
  EXPECT_EQ(models[0].files, Names{"Q2_K/d.GGUF"});
  EXPECT_EQ(models[0].quant, "Q2_K");
  EXPECT_EQ(models[1].files, Names{"a-Q4_K_M.gguf"});
  EXPECT_TRUE(models[1].complete());
  EXPECT_EQ(models[2].files, (Names{"b-Q8_0-00001-of-00002.gguf", "b-Q8_0-00002-of-00002.gguf"}));
  EXPECT_TRUE(models[2].complete());
  EXPECT_FALSE(models[3].complete());
  EXPECT_EQ(models[3].parts, 3u);
}

TEST(GgufModels, WhatOnlyLooksLikeASplitIsNone) {
  for (const char* name :
       {"a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-0001-of-00002.gguf", "a-0000x-of-00002.gguf"}) {
    const auto models = gguf_models({name});
    ASSERT_EQ(models.size(), 1u);
    EXPECT_TRUE(models[0].complete()) << name;
  }
}

std::string refusal(const Names& paths, std::string_view select) {
  try {
    choose_files(paths, select, "org/name");
    return "none";
  } catch (const Error& e) {
    EXPECT_EQ(e.subject(), "org/name");
    return e.happened() + " | " + e.help();
  }
}

TEST(ChooseFiles, TheUsualQuantisationUnlessAsked) {
  const Names paths = {
      "m-Q2_K.gguf",       "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf",
      "m-UD-Q4_K_XL.gguf", "imatrix.dat"};
  EXPECT_EQ(choose_files(paths, "", "r").files, Names{"m-Q4_K_M.gguf"});
  EXPECT_EQ(choose_files(paths, "", "r").quant, "Q4_K_M");
  EXPECT_EQ(choose_files(paths, "q8_0", "r").files.size(), 2u);
  EXPECT_EQ(choose_files(paths, "Q4_K_XL", "r").files, Names{"m-UD-Q4_K_XL.gguf"});
  EXPECT_EQ(choose_files(paths, "m-Q8_0-00002-of-00002.gguf", "r").files.size(), 2u);
  EXPECT_EQ(choose_files(paths, "imatrix.dat", "r").files, Names{"imatrix.dat"});
  EXPECT_EQ(choose_files({"only-Q3_K_S.gguf"}, "", "r").files, Names{"only-Q3_K_S.gguf"});
}

TEST(ChooseFiles, WhatIsUnclearIsListed) {
  EXPECT_EQ(refusal({"m-Q2_K.gguf", "m-Q8_0.gguf"}, ""),
            "has several models and no Q4_K_M | name one of them: Q2_K, Q8_0");
  EXPECT_EQ(refusal({"m-Q2_K.gguf"}, "Q3_K"), "has no 'Q3_K' | it has Q2_K");
  EXPECT_EQ(refusal({"a-Q4_K_M.gguf", "b-Q4_K_M.gguf"}, "Q4_K_M"),
            "'Q4_K_M' fits several models | name one by its file: a-Q4_K_M.gguf, b-Q4_K_M.gguf");
  EXPECT_EQ(refusal({"a-Q4_K_M.gguf", "b-Q4_K_M.gguf"}, ""),
            "has several models | name one of them: a-Q4_K_M.gguf, b-Q4_K_M.gguf");
  EXPECT_EQ(refusal({"m-Q4_K_M-00001-of-00003.gguf"}, ""),
            "only 1 of 3 parts of 'm-Q4_K_M-00001-of-00003.gguf' are there | ");
  EXPECT_EQ(refusal({"pytorch_model.bin"}, ""),
            "has neither GGUF files nor safetensors weights | it has pytorch_model.bin");
  EXPECT_EQ(refusal({}, ""), "has neither GGUF files nor safetensors weights | it is empty");
}

TEST(ChooseFiles, ASafetensorsFolderIsWhatItTakesToRunIt) {
  const Names paths = {".gitattributes",
                       "LICENSE",
                       "LICENSE-MODEL.txt",
                       "README.md",
                       "additional_chat_templates/rag.jinja",
                       "chat_template.jinja",
                       "config.json",
                       "figures/a.png",
                       "generation_config.json",
                       "model-00001-of-00002.safetensors",
                       "model-00002-of-00002.safetensors",
                       "model.safetensors.index.json",
                       "modeling_deepseek.py",
                       "onnx/model.onnx",
                       "pytorch_model.bin",
                       "tokenizer.json",
                       "tokenizer_config.json"};
  const FileChoice sharded = choose_files(paths, "", "r");
  EXPECT_TRUE(sharded.safetensors);
  EXPECT_TRUE(sharded.sharded);
  EXPECT_EQ(sharded.files,
            (Names{"LICENSE", "LICENSE-MODEL.txt", "README.md", "additional_chat_templates/rag.jinja",
                   "chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json",
                   "tokenizer_config.json", "model.safetensors.index.json"}));
  const FileChoice one = choose_files({"config.json", "m-Q8_0.gguf", "model.safetensors"}, "", "r");
  EXPECT_FALSE(one.sharded);
  EXPECT_EQ(one.files, (Names{"config.json", "model.safetensors"}));
  EXPECT_EQ(choose_files({"config.json", "m-Q8_0.gguf", "model.safetensors"}, "Q8_0", "r").files,
            Names{"m-Q8_0.gguf"});
}

}  // namespace
}  // namespace minke
