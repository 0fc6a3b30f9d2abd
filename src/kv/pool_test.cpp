#include "kv/pool.h"

#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"

namespace minke {
namespace {

KvLayout two_layers() {
  KvRow row;
  row.key = {KvFormat::bf16, 24, 0};
  row.value = {KvFormat::bf16, 24, 0};
  KvRow mla;
  mla.latent = {KvFormat::bf16, 41, 0};
  mla.index = {KvFormat::f32, 3, 0};
  return {lay_out(row), lay_out(mla)};
}

TEST(KvLayout, PartsFollowEachOther) {
  const KvLayout layout = two_layers();
  EXPECT_EQ(layout[0].value.offset, 48);
  EXPECT_EQ(layout[0].bytes, 96);
  EXPECT_EQ(layout[1].index.offset, 84);  // 82 rounded up to a multiple of 4
  EXPECT_EQ(layout[1].bytes, 96);
  EXPECT_EQ(page_bytes(layout), 2 * 96 * 64);
}

TEST(KvLayout, EveryHeadHasItsScales) {
  KvRow row;
  row.key = row.value = {KvFormat::int8, 3 * 160, 0, 3};
  row = lay_out(row);
  EXPECT_EQ(row.key.head_width(), 160);
  EXPECT_EQ(row.key.head_bytes(), 164);  // two scales
  EXPECT_EQ(row.value.offset, 3 * 164);
  EXPECT_EQ(row.bytes, 992);  // 984 rounded up
}

TEST(KvFormats, AreNamed) {
  EXPECT_EQ(kv_formats("int8").rows, KvFormat::int8);
  EXPECT_EQ(kv_formats("int8").index, KvFormat::int8);
  EXPECT_EQ(kv_formats("bf16,index=fp8").rows, KvFormat::bf16);
  EXPECT_EQ(kv_formats("bf16,index=fp8").index, KvFormat::fp8);
  for (const char* text : {"f32", "int8", "bf16,index=fp8"}) EXPECT_EQ(text_of(kv_formats(text)), text);
  for (const char* wrong :
       {"", "int4", "int8,", "int8,fp8", "int8,index=", "int8,index=q4", ",index=int8", "INT8"})
    EXPECT_THROW(kv_formats(wrong), Error) << wrong;
}

TEST(KvPool, GivesOutAllPagesAndNoMore) {
  KvPool pool(two_layers(), 3);
  KvView a, b;
  EXPECT_TRUE(pool.reserve(a, 65));
  EXPECT_EQ(a.pages.size(), 2u);
  EXPECT_FALSE(pool.reserve(b, 65));
  EXPECT_TRUE(b.pages.empty());
  EXPECT_TRUE(pool.reserve(b, 64));
  EXPECT_EQ(pool.free_pages(), 0);
  a.length = 65;
  pool.truncate(a, 64);
  EXPECT_EQ(pool.free_pages(), 1);
  pool.truncate(a, 0);
  EXPECT_EQ(pool.free_pages(), 2);
}

TEST(KvPool, RowsDoNotOverlapAndReusedPagesAreZero) {
  KvPool pool(two_layers(), 2);
  KvView view;
  ASSERT_TRUE(pool.reserve(view, 128));
  for (int layer = 0; layer < 2; ++layer)
    for (int t = 0; t < 128; ++t) std::memset(pool.row_at(layer, view, t), layer * 128 + t + 1, 96);
  for (int layer = 0; layer < 2; ++layer)
    for (int t = 0; t < 128; ++t)
      for (int i = 0; i < 96; ++i)
        ASSERT_EQ(pool.row_at(layer, view, t)[i], static_cast<std::byte>(layer * 128 + t + 1));
  view.length = 128;
  pool.truncate(view, 0);
  ASSERT_TRUE(pool.reserve(view, 128));
  for (int t = 0; t < 128; ++t) EXPECT_EQ(pool.row_at(1, view, t)[5], std::byte{0});
}

TEST(KvPool, ASharedPageIsCopiedBeforeItIsWritten) {
  KvPool pool(two_layers(), 3);
  KvView view;
  ASSERT_TRUE(pool.reserve(view, 70));
  view.length = 70;
  const int32_t shared = view.pages[0];
  *pool.row_at(1, view, 5) = std::byte{7};
  pool.share(shared);
  pool.own(view, 69);  // nobody else's
  EXPECT_EQ(pool.free_pages(), 1);
  pool.own(view, 5);
  EXPECT_NE(view.pages[0], shared);
  EXPECT_EQ(*pool.row_at(1, view, 5), std::byte{7});
  EXPECT_EQ(pool.uses(shared), 1);
  EXPECT_EQ(pool.free_pages(), 0);
  pool.release(shared);
  EXPECT_EQ(pool.free_pages(), 1);
}

}  // namespace
}  // namespace minke
