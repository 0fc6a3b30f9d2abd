#include "ops/document_attention.h"

#include "ops/test_gradient.h"

namespace minke {
namespace {

struct Case {
  int heads, kv_heads, key_width, value_width;
  std::vector<Document> documents;
  int rows, most;  // most > 0: positions a row sees, chosen at random
};

struct Input {
  std::vector<float> q, k, v, dout;
  std::vector<int32_t> chosen, counts;
};

Input random_input(Random& random, const Case& c) {
  Input in;
  in.q = random_floats(random, int64_t{c.rows} * c.heads * c.key_width);
  in.k = random_floats(random, int64_t{c.rows} * c.kv_heads * c.key_width);
  in.v = random_floats(random, int64_t{c.rows} * c.kv_heads * c.value_width);
  in.dout = random_floats(random, int64_t{c.rows} * c.heads * c.value_width);
  if (c.most == 0) return in;
  in.chosen.assign(static_cast<size_t>(c.rows * c.most), -1);
  in.counts.assign(static_cast<size_t>(c.rows), -1);
  for (const Document& d : c.documents)
    for (int p = c.most; p < d.count; ++p) {
      const size_t r = static_cast<size_t>(d.first + p);
      std::vector<int32_t> all(static_cast<size_t>(p + 1));
      for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
      for (size_t i = 0; i < static_cast<size_t>(c.most); ++i)
        std::swap(all[i], all[i + random.below(all.size() - i)]);
      std::sort(all.begin(), all.begin() + c.most);
      std::copy_n(all.begin(), c.most, in.chosen.begin() + static_cast<int64_t>(r) * c.most);
      in.counts[r] = c.most;
    }
  return in;
}

std::vector<int> seen(const Case& c, const Input& in, int row, int position) {
  std::vector<int> positions;
  if (c.most > 0 && in.counts[static_cast<size_t>(row)] >= 0) {
    for (int j = 0; j < c.most; ++j) positions.push_back(in.chosen[static_cast<size_t>(row * c.most + j)]);
    return positions;
  }
  for (int s = 0; s <= position; ++s) positions.push_back(s);
  return positions;
}

// f(row, head, key row, probability), in doubles.
template <typename F>
void for_each_probability(const Case& c, const Input& in, double scale, const Doubles& q, const Doubles& k,
                          const F& f) {
  for (const Document& d : c.documents)
    for (int p = 0; p < d.count; ++p)
      for (int h = 0; h < c.heads; ++h) {
        const std::vector<int> positions = seen(c, in, d.first + p, p);
        const int kv = h / (c.heads / c.kv_heads);
        Doubles e(positions.size());
        double total = 0;
        for (size_t j = 0; j < e.size(); ++j) {
          double dot = 0;
          for (int i = 0; i < c.key_width; ++i)
            dot += q[static_cast<size_t>(((d.first + p) * c.heads + h) * c.key_width + i)] *
                   k[static_cast<size_t>(((d.first + positions[j]) * c.kv_heads + kv) * c.key_width + i)];
          total += e[j] = std::exp(scale * dot);
        }
        for (size_t j = 0; j < e.size(); ++j) f(d.first + p, h, d.first + positions[j], e[j] / total);
      }
}

Doubles reference(const Case& c, const Input& in, double scale, const Doubles& q, const Doubles& k,
                  const Doubles& v) {
  Doubles out(static_cast<size_t>(c.rows * c.heads * c.value_width));
  for_each_probability(c, in, scale, q, k, [&](int row, int h, int key, double p) {
    const int kv = h / (c.heads / c.kv_heads);
    for (int i = 0; i < c.value_width; ++i)
      out[static_cast<size_t>((row * c.heads + h) * c.value_width + i)] +=
          p * v[static_cast<size_t>((key * c.kv_heads + kv) * c.value_width + i)];
  });
  return out;
}

const Case kCases[] = {{2, 1, 5, 3, {{0, 4}, {4, 1}, {5, 3}}, 9, 0},  // row 8 is of no document
                       {2, 2, 4, 6, {{1, 6}}, 7, 0},
                       {3, 3, 4, 2, {{0, 7}, {7, 5}}, 12, 3}};

TEST(DocumentAttention, GradientsAreThoseOfTheFormula) {
  for (const Case& c : kCases) {
    Random random(7);
    const Input in = random_input(random, c);
    const Selection selection{in.chosen.data(), in.counts.data(), c.most};
    const float scale = 0.6f;
    const DocumentShape shape{c.heads,
                              c.kv_heads,
                              c.key_width,
                              c.value_width,
                              scale,
                              c.documents,
                              c.most > 0 ? &selection : nullptr};
    TestContext t(2);
    std::vector<float> out(in.dout.size()), dq(in.q.size()), dk(in.k.size(), 5.0f), dv(in.v.size(), 5.0f);
    document_attention(t.ctx, t.work, shape, in.q.data(), in.k.data(), in.v.data(), out.data());
    const Doubles q = doubles(in.q), k = doubles(in.k), v = doubles(in.v);
    const Doubles expected = reference(c, in, scale, q, k, v);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1e-5) << i;

    document_attention_backward(t.ctx, t.work, shape, in.q.data(), in.k.data(), in.v.data(), in.dout.data(),
                                dq.data(), dk.data(), dv.data());
    const auto f = [&](const Doubles& a, const Doubles& b, const Doubles& d) {
      return weighted(reference(c, in, scale, a, b, d), in.dout);
    };
    std::vector<bool> member(static_cast<size_t>(c.rows));
    for (const Document& d : c.documents)
      for (int i = 0; i < d.count; ++i) member[static_cast<size_t>(d.first + i)] = true;
    for (size_t i = 0; i < dk.size(); ++i)
      if (!member[i / (dk.size() / member.size())]) dk[i] -= 5.0f;  // left alone
    for (size_t i = 0; i < dv.size(); ++i)
      if (!member[i / (dv.size() / member.size())]) dv[i] -= 5.0f;
    expect_gradient(in.q, dq, [&](const Doubles& at) { return f(at, k, v); }, "q");
    expect_gradient(in.k, dk, [&](const Doubles& at) { return f(q, at, v); }, "k");
    expect_gradient(in.v, dv, [&](const Doubles& at) { return f(q, k, at); }, "v");
  }
}

// Output and gradients by q, k and v, one behind the other.
std::vector<float> forward_and_back(const TestContext& t, const DocumentShape& shape, const Input& in) {
  std::vector<float> out(in.dout.size()), dq(in.q.size()), dk(in.k.size()), dv(in.v.size());
  document_attention(t.ctx, t.work, shape, in.q.data(), in.k.data(), in.v.data(), out.data());
  document_attention_backward(t.ctx, t.work, shape, in.q.data(), in.k.data(), in.v.data(), in.dout.data(),
                              dq.data(), dk.data(), dv.data());
  for (const auto* more : {&dq, &dk, &dv}) out.insert(out.end(), more->begin(), more->end());
  return out;
}

// Rounding to bf16 costs some parts in a thousand of the largest.
TEST(DocumentAttention, InBf16IsNearTheFormula) {
  const Case c{4, 2, 24, 16, {{0, 101}, {101, 33}}, 134, 0};
  Random random(10);
  const Input in = random_input(random, c);
  DocumentShape shape{c.heads, c.kv_heads, c.key_width, c.value_width, 0.2f, c.documents};
  const TestContext t(2);
  const std::vector<float> exact = forward_and_back(t, shape, in);
  shape.precision = Precision::bf16;
  const std::vector<float> rounded = forward_and_back(t, shape, in);
  float largest = 0;
  for (const float x : exact) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(rounded[i], exact[i], 0.01f * largest) << i;
  EXPECT_NE(rounded, exact);
}

TEST(DocumentAttention, MassIsTheSumOfTheHeads) {
  for (const Case& c : kCases) {
    Random random(8);
    const Input in = random_input(random, c);
    const Selection selection{in.chosen.data(), in.counts.data(), c.most};
    const DocumentShape shape{c.heads,
                              c.kv_heads,
                              c.key_width,
                              c.value_width,
                              0.5f,
                              c.documents,
                              c.most > 0 ? &selection : nullptr};
    TestContext t(2);
    constexpr int kStride = 9;
    std::vector<float> mass(static_cast<size_t>(c.rows * kStride), 3.0f);
    attention_mass(t.ctx, t.work, shape, in.q.data(), in.k.data(), mass.data(), kStride);
    Doubles expected(mass.size());
    for_each_probability(c, in, 0.5, doubles(in.q), doubles(in.k), [&](int row, int, int key, double p) {
      for (const Document& d : c.documents)
        if (row >= d.first && row < d.first + d.count)
          expected[static_cast<size_t>(row * kStride + key - d.first)] += p;
    });
    for (const Document& d : c.documents)
      for (int p = 0; p < d.count; ++p)
        for (int s = 0; s < d.count; ++s) {
          const size_t at = static_cast<size_t>((d.first + p) * kStride + s);
          ASSERT_NEAR(mass[at], expected[at], 1e-5);
        }
  }
}

TEST(DocumentAttention, InstructionSetsAndThreadsGiveTheSameBits) {
  const Case c{4, 2, 24, 16, {{0, 3 * 32 + 5}, {101, 33}}, 134, 0};
  Random random(9);
  const Input in = random_input(random, c);
  DocumentShape shape{c.heads, c.kv_heads, c.key_width, c.value_width, 0.2f, c.documents};
  const Doubles expected = reference(c, in, 0.2, doubles(in.q), doubles(in.k), doubles(in.v));
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    shape.precision = precision;
    std::vector<float> first;
    for (const Isa isa : supported_isas()) {
      for (const int threads : {1, 4}) {
        TestContext t(threads, false, isa);
        std::vector<float> out = forward_and_back(t, shape, in);
        for (size_t i = 0; i < expected.size() && precision == Precision::f32; ++i)
          ASSERT_NEAR(out[i], expected[i], 1e-5) << i;
        if (first.empty()) first = out;
        ASSERT_EQ(out, first) << name(isa) << ' ' << threads;
      }
    }
  }
}

}  // namespace
}  // namespace minke
