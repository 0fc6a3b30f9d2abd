#include "plan/counts.h"

#include <gtest/gtest.h>

#include "model/presets.h"
#include "plan/memory.h"

namespace minke {
namespace {

// The counts of MODEL.md 1.2.
TEST(Counts, OfV3) {
  const Counts c = count(preset("v3"));
  EXPECT_EQ(c.total, 671'026'419'200);
  EXPECT_EQ(c.active, 37'552'297'472);
  EXPECT_EQ(c.active_without_embedding(), 36'625'618'432);
  EXPECT_EQ(c.active_without_embedding() - c.head, 35'698'939'392);
  EXPECT_EQ(c.mtp, 11'610'068'224);
  EXPECT_EQ(c.mtp_active, 688'100'608);
}

TEST(Counts, OfR2) {
  const Counts c = count(preset("r2"));
  EXPECT_EQ(c.total, 671'877'944'064);
  EXPECT_EQ(c.active, 38'403'822'336);
  EXPECT_EQ(c.active_without_embedding(), 37'477'143'296);
  EXPECT_EQ(c.experts, 653'908'770'816);
  EXPECT_EQ(c.experts_active, 20'434'649'088);
  EXPECT_EQ(c.total + c.mtp, 683'501'971'712);
}

TEST(Counts, OfV2Lite) {
  const Counts c = count(preset("v2-lite"));
  EXPECT_NEAR(static_cast<double>(c.total), 15.706e9, 1e6);
  EXPECT_NEAR(static_cast<double>(c.active), 2.661e9, 1e6);
}

TEST(Counts, CacheOfR2) {  // 61 layers of 512 + 64 + 128 numbers; the MTP layer is one more
  EXPECT_EQ(cache_bytes_per_token(preset("r2"), KvFormat::bf16), 62 * 2 * (512 + 64 + 128));
  // A latent of 576 bytes with 5 scales, an index key of 128 with one.
  EXPECT_EQ(cache_bytes_per_token(preset("r2"), KvFormat::int8), 62 * (576 + 12 + 128 + 4));
}

TEST(Counts, WeightBytes) {
  const Config c = preset("v3");
  const int64_t bf16 = weight_bytes(c, Format::bf16), q4 = weight_bytes(c, Format::q4_k);
  EXPECT_NEAR(static_cast<double>(bf16), 2.0 * 671.026e9, 1e9);
  EXPECT_NEAR(static_cast<double>(q4), 671.026e9 * 4.5 / 8, 4e9);  // k_b's rows of 128 stay BF16
}

}  // namespace
}  // namespace minke
