#include "hub/pull.h"

#include <atomic>

#include "hub/cache.h"
#include "hub/hub_stand_in.h"

namespace minke {
namespace {

using Request = HttpStandIn::Request;
using Peer = HttpStandIn::Peer;

std::string noise(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1664525u + 1013904223u) >> 24);
  return text;
}

class Pull : public HubTest {
 protected:
  HubStandIn hub_;
  fs::path cache_;
  void SetUp() override {
    HubTest::SetUp();
    cache_ = folder_ / "hub";
    hub_.files = {{"README.md", "hello\n"},
                  {"m-Q2_K.gguf", noise(1000, 1)},
                  {"m-Q4_K_M.gguf", noise(700'000, 2)},
                  {"m-Q8_0-00001-of-00002.gguf", noise(2000, 3)},
                  {"m-Q8_0-00002-of-00002.gguf", noise(3000, 4)}};
  }
  PullResult pull_it(std::string_view name = "org/name") {
    return pull(hub_.options(cache_), parse_model_name(name));
  }
  std::string refusal(std::string_view name = "org/name") {
    return error_of([&] { pull_it(name); });
  }
  CachedRepo repo() const { return {cache_, "org/name"}; }
  std::string etag(const std::string& file) const {
    return digest_of(DigestKind::sha256, hub_.files.at(file));
  }
};

TEST_F(Pull, FetchesTheUsualQuantisation) {
  const PullResult result = pull_it();
  EXPECT_EQ(result.path, repo().snapshot(hub_.commit) / "m-Q4_K_M.gguf");
  EXPECT_EQ(result.quant, "Q4_K_M");
  EXPECT_EQ(result.fetched, 700'000u);
  EXPECT_EQ(result.bytes, 700'000u);
  EXPECT_EQ(read_file(result.path), hub_.files["m-Q4_K_M.gguf"]);
  EXPECT_EQ(fs::read_symlink(result.path), "../../blobs/" + etag("m-Q4_K_M.gguf"));
  EXPECT_EQ(read_file(repo().folder() / "refs/main"), hub_.commit);
  EXPECT_TRUE(fs::exists(cache_ / "CACHEDIR.TAG"));
  EXPECT_EQ(snapshot_files(repo().snapshot(hub_.commit)).size(), 1u);

  const PullResult again = pull_it("org/name:q4_k_m");
  EXPECT_EQ(again.path, result.path);
  EXPECT_EQ(again.fetched, 0u);
  EXPECT_EQ(hub_.cdn_requests(), 1u);
}

TEST_F(Pull, FetchesAllPartsAndTellsHowFarItIs) {
  std::vector<PullProgress> seen;
  const PullResult result = pull(hub_.options(cache_), parse_model_name("org/name:Q8_0"),
                                 [&](const PullProgress& p) { seen.push_back(p); });
  EXPECT_EQ(result.files.size(), 2u);
  EXPECT_EQ(result.path.filename(), "m-Q8_0-00001-of-00002.gguf");
  EXPECT_EQ(read_file(result.path.parent_path() / result.files[1]), hub_.files[result.files[1]]);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front().file, result.files[0]);
  EXPECT_EQ(seen.front().total, 2000u);
  EXPECT_EQ(seen.back().phase, PullPhase::done);
  EXPECT_EQ(seen.back().all_bytes, 5000u);
  EXPECT_EQ(seen.back().all_total, 5000u);
  for (size_t i = 1; i < seen.size(); ++i) EXPECT_GE(seen[i].all_bytes, seen[i - 1].all_bytes);
}

TEST_F(Pull, FetchesASafetensorsFolder) {
  hub_.page = 2;
  hub_.files = {
      {"config.json", "{\"architectures\":[\"X\"]}"},
      {"tokenizer.json", "{}"},
      {"empty.jinja", ""},
      {"LICENSE", "yes"},
      {"other.bin", "no"},
      {"consolidated.safetensors", noise(10, 9)},
      {"model.safetensors.index.json",
       R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})"},
      {"model-00001-of-00002.safetensors", noise(5000, 5)},
      {"model-00002-of-00002.safetensors", noise(6000, 6)}};
  const PullResult result = pull_it();
  EXPECT_EQ(result.path, repo().snapshot(hub_.commit));
  EXPECT_EQ(hub_.hub_requests("/tree/"), 5u);
  for (const char* file :
       {"config.json", "tokenizer.json", "empty.jinja", "LICENSE", "model.safetensors.index.json",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"})
    EXPECT_EQ(read_file(result.path / file), hub_.files[file]) << file;
  EXPECT_EQ(snapshot_files(result.path).size(), 7u);
  EXPECT_EQ(fs::read_symlink(result.path / "config.json"),
            "../../blobs/" + digest_of(DigestKind::git_blob, hub_.files["config.json"]));
}

TEST_F(Pull, AnIndexNamesOnlyWhatIsThere) {
  hub_.files = {{"model.safetensors.index.json", R"({"weight_map":{"a":"../../evil.safetensors"}})"}};
  EXPECT_NE(refusal().find("it names '../../evil.safetensors', which the repository does not have"),
            std::string::npos);
  hub_.files = {{"model.safetensors.index.json", R"({"weight_map":[1]})"}};
  EXPECT_NE(refusal().find("model.safetensors.index.json"), std::string::npos);
}

TEST_F(Pull, GoesOnWhereAnEarlierAttemptEnded) {
  const std::string content = hub_.files["m-Q4_K_M.gguf"];
  put(repo().partial(etag("m-Q4_K_M.gguf")), content.substr(0, 400'000));
  const PullResult result = pull_it();
  EXPECT_EQ(result.fetched, 300'000u);
  EXPECT_EQ(hub_.cdn().requests().at(0).header("Range"), "bytes=400000-");
  EXPECT_EQ(read_file(result.path), content);
  EXPECT_FALSE(fs::exists(repo().partial(etag("m-Q4_K_M.gguf"))));
}

TEST_F(Pull, APartialFileThatIsWholeOrTooLongIsNoTrouble) {
  const std::string content = hub_.files["m-Q4_K_M.gguf"];
  put(repo().partial(etag("m-Q4_K_M.gguf")), content);
  EXPECT_EQ(pull_it().fetched, 0u);
  put(repo().partial(etag("m-Q2_K.gguf")), hub_.files["m-Q2_K.gguf"] + "x");
  EXPECT_EQ(read_file(pull_it("org/name:Q2_K").path), hub_.files["m-Q2_K.gguf"]);
}

TEST_F(Pull, ADamagedPartialFileIsFetchedAfresh) {
  put(repo().partial(etag("m-Q4_K_M.gguf")), std::string(400'000, 'x'));
  const PullResult result = pull_it();
  EXPECT_EQ(read_file(result.path), hub_.files["m-Q4_K_M.gguf"]);
  EXPECT_EQ(result.fetched, 1'000'000u);
}

TEST_F(Pull, RangesThatAreNotHeededStartAnew) {
  const std::string content = hub_.files["m-Q4_K_M.gguf"];
  put(repo().partial(etag("m-Q4_K_M.gguf")), content.substr(0, 400'000));
  hub_.at_cdn = [&](const Request&, Peer& peer) { return peer.send(http_response(200, {}, content)), true; };
  const PullResult result = pull_it();
  EXPECT_EQ(read_file(result.path), content);
  EXPECT_EQ(result.fetched, 700'000u);
}

TEST_F(Pull, BrokenTransfersAreResumed) {
  const std::string content = hub_.files["m-Q4_K_M.gguf"];
  std::atomic<int> attempts = 0;
  hub_.at_cdn = [&](const Request& request, Peer& peer) {
    const int n = attempts++;
    if (n == 0)
      return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + content.substr(0, 100'000)),
             true;
    if (n == 1) return peer.send(http_response(503, {}, "busy")), true;
    if (n == 2) return true;  // hangs up
    if (n == 3)
      return peer.send(
                 "HTTP/1.1 206 P\r\nContent-Range: bytes 100000-699999/700000\r\nContent-Length: "
                 "600000\r\n\r\n" +
                 content.substr(100'000, 50'000)),
             true;
    EXPECT_EQ(request.header("Range"), "bytes=150000-");
    return false;
  };
  EXPECT_EQ(read_file(pull_it().path), content);
  EXPECT_EQ(attempts, 5);
}

TEST_F(Pull, AfterManyFailuresWhatWasFetchedStays) {
  hub_.at_cdn = [&](const Request& request, Peer& peer) {
    if (request.header("Range").empty())
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" +
                hub_.files["m-Q4_K_M.gguf"].substr(0, 100'000));
    return true;
  };
  EXPECT_NE(refusal().find("org/name/m-Q4_K_M.gguf"), std::string::npos);
  EXPECT_EQ(hub_.cdn_requests(), 6u);  // the first, and as many retries as allowed
  EXPECT_EQ(fs::file_size(repo().partial(etag("m-Q4_K_M.gguf"))), 100'000u);
  EXPECT_FALSE(fs::exists(repo().folder() / "refs/main"));
  hub_.at_cdn = {};
  EXPECT_EQ(pull_it().fetched, 600'000u);
}

TEST_F(Pull, ASlowDripIsATimeout) {
  hub_.at_cdn = [&](const Request&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n");
    for (size_t i = 0; peer.sleep(10) && peer.send(hub_.files["m-Q4_K_M.gguf"].substr(i, 1)); ++i) continue;
    return true;
  };
  HubOptions options = hub_.options(cache_);
  options.retries = 0;
  options.timeouts.idle = std::chrono::milliseconds(300);
  const std::string error = error_of([&] { pull(options, parse_model_name("org/name")); });
  EXPECT_NE(error.find("no further data within"), std::string::npos) << error;
}

TEST_F(Pull, LargeFilesComeInPieces) {
  HubOptions options = hub_.options(cache_);
  options.piece_bytes = 300'000;
  const PullResult result = pull(options, parse_model_name("org/name"));
  EXPECT_EQ(read_file(result.path), hub_.files["m-Q4_K_M.gguf"]);
  EXPECT_EQ(hub_.cdn_requests(), 3u);
  EXPECT_EQ(hub_.cdn().requests().at(1).header("Range"), "bytes=300000-599999");
}

TEST_F(Pull, OtherContentThanPromisedIsRemoved) {
  hub_.at_cdn = [&](const Request&, Peer& peer) {
    return peer.send(http_response(200, {}, noise(700'000, 99))), true;
  };
  EXPECT_NE(refusal().find("not what the hub promised"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(repo().folder() / "blobs"));
  EXPECT_TRUE(cached_commits(repo()).empty());
}

TEST_F(Pull, SmallFilesAreVerifiedToo) {
  hub_.at_hub = [&](const Request& request, Peer& peer) {
    return request.method == "GET" && request.target.ends_with("README.md") &&
           peer.send(http_response(200, {}, "HELLO\n"));
  };
  EXPECT_NE(refusal("org/name:README.md").find("org/name/README.md"), std::string::npos);
  hub_.at_hub = {};
  EXPECT_EQ(read_file(pull_it("org/name:README.md").path), "hello\n");
}

TEST_F(Pull, AnswersThatContradictThemselvesAreRefused) {
  const std::string content = hub_.files["m-Q4_K_M.gguf"];
  const std::string cases[] = {
      http_response(206, {{"Content-Range", "bytes 0-700000/700001"}}, content + "x"),
      http_response(206, {{"Content-Range", "bytes 5-700004/700005"}}, content),
      http_response(206, {}, content),
      http_response(200, {}, content + "x"),
      http_response(200, {}, content.substr(1)),
      "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n" + content,
      "HTTP/1.1 200 OK\r\n\r\n" + content + "more"};
  for (const std::string& answer : cases) {
    fs::remove_all(cache_);
    hub_.at_cdn = [&](const Request&, Peer& peer) { return peer.send(answer), true; };
    EXPECT_NE(refusal().find("org/name/m-Q4_K_M.gguf"), std::string::npos) << answer.substr(0, 100);
    EXPECT_FALSE(fs::exists(repo().blob(etag("m-Q4_K_M.gguf"))));
  }
}

// A file the listing tells too little of: the hub is asked with HEAD.
TEST_F(Pull, WithoutATreeOfFilesEachIsAskedFor) {
  hub_.has_tree = false;
  const PullResult result = pull_it();
  EXPECT_EQ(read_file(result.path), hub_.files["m-Q4_K_M.gguf"]);
  EXPECT_EQ(fs::read_symlink(result.path),
            "../../blobs/" + etag("m-Q4_K_M.gguf"));  // X-Linked-Etag, not ETag
  EXPECT_EQ(hub_.hub.requests().at(2).method, "HEAD");
}

TEST_F(Pull, EtagsThatCannotNameAFileAreRefused) {
  hub_.has_tree = false;
  for (const char* tag : {"\"../../x\"", "\"\"", "\"a/b\"", "..", "\"a b\"", "\".hidden\""}) {
    hub_.at_hub = [&](const Request& request, Peer& peer) {
      return request.method == "HEAD" &&
             peer.send(fmt::format("HTTP/1.1 200 OK\r\nETag: {}\r\nContent-Length: 5\r\n\r\n", tag));
    };
    EXPECT_NE(refusal().find("etag that cannot name a file"), std::string::npos) << tag;
  }
  hub_.at_hub = [&](const Request& request, Peer& peer) {  // a SHA-256 of something else
    return request.method == "HEAD" &&
           peer.send(fmt::format("HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nContent-Length: 700000\r\n\r\n",
                                 std::string(64, '0')));
  };
  EXPECT_NE(refusal().find("not what the hub promised"), std::string::npos);
  hub_.at_hub = [&](const Request& request, Peer& peer) {
    return request.method == "HEAD" && peer.send("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n");
  };
  EXPECT_NE(refusal().find("no etag"), std::string::npos);
}

TEST_F(Pull, FilesWithDangerousNamesAreRefusedByName) {
  for (const char* name : {"../../x-Q4_K_M.gguf", "/tmp/x-Q4_K_M.gguf", "a\\..\\x-Q4_K_M.gguf",
                           "x\n-Q4_K_M.gguf", "a//x-Q4_K_M.gguf"}) {
    hub_.files = {{name, "evil"}};
    const std::string error = refusal();
    EXPECT_NE(error.find("name is refused"), std::string::npos) << error;
    EXPECT_NE(error.find("Q4_K_M.gguf"), std::string::npos) << error;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // the cache, and nothing beside it
}

TEST_F(Pull, ListingsThatAreNoneAreRefused) {
  const std::string bodies[] = {"",
                                "{",
                                "[]",
                                "{}",
                                R"({"sha":"main"})",
                                R"({"sha":5})",
                                R"({"sha":")" + hub_.commit + R"(","siblings":[{}]})"};
  for (const std::string& body : bodies) {
    hub_.at_hub = [&](const Request&, Peer& peer) { return peer.send(http_response(200, {}, body)), true; };
    EXPECT_NE(refusal().find("listing cannot be read"), std::string::npos) << body;
  }
  for (const char* body : {"{}", "[1,", R"([{"type":"file"}])", R"([{"type":"file","path":7}])"}) {
    hub_.at_hub = [&](const Request& request, Peer& peer) {
      return request.target.find("/tree/") != std::string::npos && peer.send(http_response(200, {}, body));
    };
    EXPECT_NE(refusal().find("listing cannot be read"), std::string::npos) << body;
  }
  hub_.at_hub = [&](const Request& request, Peer& peer) {
    return request.target.find("/tree/") != std::string::npos &&
           peer.send(http_response(200, {{"Link", "<ftp://x/>; rel=next"}}, "[]"));
  };
  EXPECT_NE(refusal().find("listing cannot be read"), std::string::npos);
}

TEST_F(Pull, GatedModelsSayWhatToDo) {
  hub_.token = "hf_right";
  const std::string without = refusal();
  EXPECT_NE(without.find("accept it on " + hub_.hub.url("/org/name")), std::string::npos) << without;
  EXPECT_NE(without.find("set HF_TOKEN"), std::string::npos);
  HubOptions options = hub_.options(cache_);
  options.token = "hf_right";
  EXPECT_EQ(pull(options, parse_model_name("org/name")).fetched, 700'000u);
  EXPECT_EQ(hub_.cdn().requests().at(0).header("Authorization"), "");  // the token stays with the hub
  options.token = "hf_wrong\r\nX: y";
  EXPECT_NE(error_of([&] { pull(options, parse_model_name("org/name")); }).find("line break"),
            std::string::npos);
  hub_.at_hub = [](const Request&, Peer& peer) {
    return peer.send(http_response(401, {}, "Invalid credentials")), true;
  };
  options.token = "hf_wrong";
  const std::string refused = error_of([&] { pull(options, parse_model_name("org/name")); });
  EXPECT_NE(refused.find("does not accept the token"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("hf_wrong"), std::string::npos);
}

TEST_F(Pull, WhatDoesNotExistIsNamedWithWhatDoes) {
  const std::string repo = refusal("other/name");
  EXPECT_NE(repo.find("other/name: the hub has no such model"), std::string::npos) << repo;
  EXPECT_NE(repo.find("there are org/name"), std::string::npos) << repo;
  EXPECT_NE(refusal("org/name@v9").find("no revision 'v9'"), std::string::npos);
  const std::string file = refusal("org/name:Q6_K");
  EXPECT_NE(file.find("it has Q2_K, Q4_K_M, Q8_0"), std::string::npos) << file;
}

TEST_F(Pull, PassingErrorsOfTheHubAreRetriedOthersAreNot) {
  std::atomic<int> n = 0;
  hub_.at_hub = [&](const Request&, Peer& peer) {
    ++n;
    if (n == 1) return peer.send(http_response(429, {{"Retry-After", "0"}}, "")), true;
    if (n == 2) return peer.send(http_response(500, {}, "")), true;
    return false;
  };
  EXPECT_EQ(pull_it().fetched, 700'000u);
  n = 0;
  hub_.at_hub = [&](const Request&, Peer& peer) {
    return ++n, peer.send(http_response(429, {{"Retry-After", "3600"}}, "")), true;
  };
  EXPECT_NE(refusal().find("try again in 3600 s"), std::string::npos);
  EXPECT_EQ(n, 1);
  hub_.at_hub = [&](const Request&, Peer& peer) {
    return peer.send(http_response(500, {}, "<html>oops")), true;
  };
  EXPECT_NE(refusal().find("HTTP 500 Status: <html>oops"), std::string::npos);
}

TEST_F(Pull, NothingIsBegunWhereTheDiskIsTooSmall) {
  hub_.at_hub = [&](const Request& request, Peer& peer) {
    if (request.target.find("/tree/") == std::string::npos) return false;
    return peer.send(http_response(200, {},
                                   fmt::format(R"([{{"type":"file","path":"m.gguf","size":9000000000000000000,
      "lfs":{{"oid":"{}","size":9000000000000000000}}}}])",
                                               std::string(64, '0')))),
           true;
  };
  const std::string error = refusal();
  EXPECT_NE(error.find("9000000000.0 GB are to be fetched"), std::string::npos) << error;
  EXPECT_EQ(hub_.cdn_requests(), 0u);
}

TEST_F(Pull, WithoutANetworkItSaysSo) {
  HubOptions options = hub_.options(cache_);
  options.endpoint = "http://127.0.0.1:1";
  const std::string error = error_of([&] { pull(options, parse_model_name("org/name")); });
  EXPECT_NE(error.find("is there a network"), std::string::npos) << error;
  options.offline = true;
  EXPECT_NE(error_of([&] { pull(options, parse_model_name("org/name")); }).find("offline"),
            std::string::npos);
  options.endpoint = "not a url";
  EXPECT_NE(error_of([&] { pull(options, parse_model_name("org/name")); }).find("the hub's address"),
            std::string::npos);
}

TEST_F(Pull, IsCanceledAndGoesOnLater) {
  std::atomic<bool> canceled = false;
  hub_.at_cdn = [&](const Request& request, Peer& peer) {
    if (!request.header("Range").empty()) return false;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" +
              hub_.files["m-Q4_K_M.gguf"].substr(0, 100'000));
    while (!canceled && peer.sleep(20)) continue;
    while (peer.sleep(20)) continue;
    return true;
  };
  HubOptions options = hub_.options(cache_);
  options.canceled = [&] { return canceled.load(); };
  const std::string error = error_of([&] {
    pull(options, parse_model_name("org/name"),
         [&](const PullProgress& p) { canceled = p.bytes == 100'000; });
  });
  EXPECT_NE(error.find("canceled"), std::string::npos) << error;
  canceled = false;
  EXPECT_EQ(pull(options, parse_model_name("org/name")).fetched, 600'000u);
}

TEST_F(Pull, WhatAnotherProcessFetchesIsWaitedFor) {
  const std::string tag = etag("m-Q4_K_M.gguf");
  auto others = FileLock::try_lock(repo().lock(tag));
  int waited = 0;
  const PullResult result =
      pull(hub_.options(cache_), parse_model_name("org/name"), [&](const PullProgress& p) {
        if (p.phase != PullPhase::waiting || ++waited < 2) return;
        put(repo().blob(tag), hub_.files["m-Q4_K_M.gguf"]);
        others.reset();
      });
  EXPECT_GE(waited, 2);
  EXPECT_EQ(result.fetched, 0u);
  EXPECT_EQ(read_file(result.path), hub_.files["m-Q4_K_M.gguf"]);
}

TEST_F(Pull, ARevisionIsKeptUnderItsName) {
  const PullResult result = pull_it("org/name:Q2_K@" + hub_.commit);
  EXPECT_EQ(result.commit, hub_.commit);
  EXPECT_TRUE(cached_refs(repo()).empty());
  EXPECT_EQ(cached_commit(repo(), hub_.commit), hub_.commit);
}

}  // namespace
}  // namespace minke
