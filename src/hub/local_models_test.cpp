#include "hub/local_models.h"

#include "hub/cache.h"
#include "hub/hub_stand_in.h"

namespace minke {
namespace {

const std::string kOld(40, 'a'), kNew(40, 'b');

class LocalModels : public HubTest {
 protected:
  ModelPlaces places_;
  void SetUp() override {
    HubTest::SetUp();
    places_ = {.hub_cache = folder_ / "hub", .models = folder_ / "own"};
  }
  // As if it had been pulled.
  void cached(const std::string& repo, const std::string& commit, const std::string& path,
              const std::string& content) {
    const CachedRepo in{places_.hub_cache, repo};
    const std::string etag = digest_of(DigestKind::sha256, content);
    put(in.blob(etag), content);
    link_blob(in, commit, path, etag);
  }
  void main_is(const std::string& repo, const std::string& commit) {
    write_ref({places_.hub_cache, repo}, "main", commit);
  }
  void shard_index(const std::string& repo) {
    cached(repo, kNew, "model.safetensors.index.json",
           R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
    cached(repo, kNew, "s1.safetensors", "one");
  }
  fs::path resolved(std::string_view name) { return resolve_model(places_, name); }
  std::string refusal(std::string_view name) {
    return error_of([&] { resolved(name); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const LocalModel& m : list_models(places_)) out.push_back(m.name);
    return out;
  }
};

TEST_F(LocalModels, ListsWhatIsInTheCacheAndInTheOwnFolder) {
  cached("org/gg", kNew, "m-Q4_K_M.gguf", "four");
  cached("org/gg", kNew, "m-Q8_0-00001-of-00002.gguf", "eight");
  cached("org/gg", kNew, "README.md", "text");
  main_is("org/gg", kNew);
  cached("org/st", kNew, "config.json",
         R"({"architectures":["XForCausalLM"],"quantization_config":{"quant_method":"fp8"}})");
  cached("org/st", kNew, "model.safetensors", "weights");
  main_is("org/st", kNew);
  cached("org/tokenizer-only", kNew, "tokenizer.json", "{}");
  put(places_.models / "mine.Q5_0.gguf", "five!");
  put(places_.models / "notes.txt", "");
  put(places_.models / "folder/config.json", R"({"torch_dtype":"bfloat16"})");
  put(places_.models / "folder/model.safetensors", "w");

  const auto models = list_models(places_);
  EXPECT_EQ(names(),
            (std::vector<std::string>{"org/gg:Q4_K_M", "org/gg:Q8_0", "org/st", "mine.Q5_0", "folder"}));
  ASSERT_EQ(models.size(), 5u);
  EXPECT_EQ(models[0].bytes, 4u);
  EXPECT_EQ(models[0].quant, "Q4_K_M");
  EXPECT_TRUE(models[0].complete);
  EXPECT_FALSE(models[1].complete);
  EXPECT_TRUE(models[2].safetensors);
  EXPECT_EQ(models[2].quant, "FP8");
  EXPECT_EQ(models[2].architecture, "XForCausalLM");
  EXPECT_EQ(models[3].quant, "Q5_0");
  EXPECT_EQ(models[4].quant, "BF16");
  for (const LocalModel& m : models) EXPECT_EQ(m.complete ? resolved(m.name) : m.path, m.path) << m.name;
}

std::string number(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string gguf_string(const std::string& text) { return number(text.size(), 8) + text; }

// A GGUF file (MODEL.md 4.2) of one tensor: 32 weights in Q8_0.
std::string tiny_gguf(const std::string& architecture) {
  std::string file = "GGUF" + number(3, 4) + number(1, 8) + number(1, 8);
  file += gguf_string("general.architecture") + number(8, 4) + gguf_string(architecture);
  file += gguf_string("t") + number(1, 4) + number(32, 8) + number(8, 4) + number(0, 8);
  file.resize((file.size() + 31) / 32 * 32);
  return file + std::string(34, '\0');
}

TEST_F(LocalModels, AGgufFileTellsWhatItIs) {
  put(places_.models / "plain.gguf", tiny_gguf("deepseek2"));
  put(places_.models / "said-F16.gguf", tiny_gguf("llama"));
  const auto models = list_models(places_);
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].architecture, "deepseek2");
  EXPECT_EQ(models[0].quant, "Q8_0");  // from its tensors
  EXPECT_EQ(models[1].architecture, "llama");
  EXPECT_EQ(models[1].quant, "F16");  // from its name
}

TEST_F(LocalModels, NothingThereIsAnEmptyList) { EXPECT_TRUE(list_models(places_).empty()); }

TEST_F(LocalModels, OtherRevisionsAreNamed) {
  cached("org/gg", kOld, "m-Q4_K_M.gguf", "old");
  cached("org/gg", kNew, "m-Q4_K_M.gguf", "new");
  EXPECT_NE(refusal("org/gg").find("not on this machine"), std::string::npos);
  main_is("org/gg", kNew);
  write_ref({places_.hub_cache, "org/gg"}, "v1", kOld);
  EXPECT_EQ(names(), (std::vector<std::string>{"org/gg:Q4_K_M@v1", "org/gg:Q4_K_M"}));
  EXPECT_EQ(read_file(resolved("org/gg")), "new");
  EXPECT_EQ(read_file(resolved("org/gg:Q4_K_M@v1")), "old");
  EXPECT_EQ(read_file(resolved("org/gg@" + kOld.substr(0, 12))), "old");
}

TEST_F(LocalModels, ResolvesNamesAndPaths) {
  cached("org/gg", kNew, "m-Q2_K.gguf", "2");
  cached("org/gg", kNew, "m-Q8_0.gguf", "8");
  main_is("org/gg", kNew);
  cached("other/GG", kNew, "x.gguf", "x");
  cached("org/unique", kNew, "u-Q8_0.gguf", "u");
  put(places_.models / "mine.gguf", "mine");
  put(places_.models / "two/a-Q8_0.gguf", "a8");
  put(places_.models / "two/a-Q4_K_M.gguf", "a4");

  EXPECT_EQ(resolved((places_.models / "mine.gguf").string()), places_.models / "mine.gguf");
  EXPECT_EQ(resolved(places_.models.string()), places_.models);
  EXPECT_EQ(read_file(resolved("mine")), "mine");
  EXPECT_EQ(read_file(resolved("two")), "a4");
  EXPECT_EQ(read_file(resolved("two:q8_0")), "a8");
  EXPECT_EQ(read_file(resolved("hf:org/gg:q8_0")), "8");
  EXPECT_EQ(read_file(resolved("org/gg:m-Q2_K.gguf")), "2");
  EXPECT_EQ(read_file(resolved("unique")), "u");
  EXPECT_EQ(read_file(resolved("Unique:Q8_0")), "u");
  EXPECT_EQ(read_file(resolved("other/GG")), "x");
  EXPECT_NE(refusal("gg").find("org/gg, other/GG"), std::string::npos);
  const std::string unclear = refusal("org/gg");
  EXPECT_NE(unclear.find("name one of them: Q2_K, Q8_0"), std::string::npos) << unclear;
  EXPECT_NE(refusal("org/gg:Q6_K").find("minke pull"), std::string::npos);
  EXPECT_NE(refusal("org/none:Q4_K_M").find("`minke pull org/none:Q4_K_M` fetches it"), std::string::npos);
  EXPECT_NE(refusal("nothing").find("minke pull"), std::string::npos);
  EXPECT_NE(refusal("./nothing.gguf").find("no such file"), std::string::npos);
  EXPECT_NE(refusal(""), "");
  EXPECT_NE(refusal(".."
                    "/own/mine"),
            "");
}

TEST_F(LocalModels, WhatIsNotWholeIsNotRun) {
  shard_index("org/st");
  cached("org/gg", kNew, "m-00001-of-00002.gguf", "1");
  main_is("org/st", kNew);
  EXPECT_NE(refusal("org/st").find("weights are missing"), std::string::npos);
  EXPECT_NE(refusal("org/gg").find("only 1 of 2 parts"), std::string::npos);
  cached("org/st", kNew, "s2.safetensors", "two");
  EXPECT_EQ(resolved("org/st"), CachedRepo({places_.hub_cache, "org/st"}).snapshot(kNew));
}

TEST_F(LocalModels, RemovesAModelAndLeavesWhatOthersUse) {
  const CachedRepo repo{places_.hub_cache, "org/gg"};
  cached("org/gg", kOld, "m-Q4_K_M.gguf", "same");
  cached("org/gg", kNew, "m-Q4_K_M.gguf", "same");
  cached("org/gg", kNew, "m-Q8_0.gguf", "eight");
  main_is("org/gg", kNew);

  EXPECT_EQ(remove_model(places_, "org/gg:Q4_K_M").bytes, 0u);  // the older revision still has it
  EXPECT_EQ(names(), (std::vector<std::string>{"org/gg:Q4_K_M@aaaaaaaaaaaa", "org/gg:Q8_0"}));
  EXPECT_EQ(remove_model(places_, "org/gg:Q4_K_M@aaaaaaaaaaaa").bytes, 4u);
  EXPECT_EQ(names(), std::vector<std::string>{"org/gg:Q8_0"});
  EXPECT_FALSE(fs::exists(repo.snapshot(kOld)));
  EXPECT_EQ(remove_model(places_, "org/gg:Q8_0").bytes, 5u);
  EXPECT_FALSE(fs::exists(repo.folder()));
  EXPECT_NE(error_of([&] { remove_model(places_, "org/gg:Q8_0"); }), "");
}

TEST_F(LocalModels, RemovingWaitsForNobody) {
  const CachedRepo repo{places_.hub_cache, "org/gg"};
  cached("org/gg", kNew, "m-Q8_0.gguf", "eight");
  const auto lock = FileLock::try_lock(repo.lock(digest_of(DigestKind::sha256, "eight")));
  EXPECT_NE(error_of([&] { remove_model(places_, "org/gg:Q8_0"); }).find("being fetched"), std::string::npos);
  EXPECT_EQ(read_file(resolved("org/gg")), "eight");
}

TEST_F(LocalModels, RemovingSparesWhatIsBeingFetched) {
  const CachedRepo repo{places_.hub_cache, "org/gg"};
  cached("org/gg", kNew, "m-Q8_0.gguf", "eight");
  put(repo.partial("other"), "part");
  remove_model(places_, "org/gg:Q8_0");
  EXPECT_EQ(read_file(repo.partial("other")), "part");
}

// Newer tools of the hub keep contents beside the repositories; a blob is then a link.
TEST_F(LocalModels, ContentsSharedBetweenRepositoriesStay) {
  const CachedRepo repo{places_.hub_cache, "org/gg"};
  const fs::path shared = places_.hub_cache / "blobs/ab/abcd";
  put(shared, "shared");
  fs::create_directories(repo.folder() / "blobs");
  fs::create_symlink("../../blobs/ab/abcd", repo.blob("etag"));
  link_blob(repo, kNew, "m-Q8_0.gguf", "etag");
  EXPECT_EQ(read_file(resolved("org/gg")), "shared");
  EXPECT_EQ(list_models(places_).at(0).bytes, 6u);
  EXPECT_EQ(remove_model(places_, "org/gg:Q8_0").bytes, 0u);
  EXPECT_TRUE(fs::exists(shared));
  EXPECT_FALSE(fs::exists(repo.folder()));
}

TEST_F(LocalModels, OfTheOwnFolderOnlyTheModelIsRemoved) {
  put(folder_ / "elsewhere.gguf", "keep");
  put(places_.models / "mix/config.json", "{}");
  put(places_.models / "mix/model.safetensors", "weights");
  put(places_.models / "mix/notes.txt", "mine");
  fs::create_symlink(folder_ / "elsewhere.gguf", places_.models / "link-Q8_0.gguf");
  put(places_.models / "deep/er/m-Q8_0.gguf", "deep");
  EXPECT_EQ(remove_model(places_, "mix").bytes, 9u);
  EXPECT_EQ(read_file(places_.models / "mix/notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(places_.models / "mix/config.json"));
  EXPECT_EQ(remove_model(places_, "link-Q8_0").bytes, 0u);
  EXPECT_EQ(read_file(folder_ / "elsewhere.gguf"), "keep");
  EXPECT_EQ(remove_model(places_, "deep:Q8_0").bytes, 4u);
  EXPECT_FALSE(fs::exists(places_.models / "deep"));
  EXPECT_TRUE(fs::exists(places_.models));
}

}  // namespace
}  // namespace minke
