#pragma once
// How models read a text that is longer than their context: in windows, each from an empty one.

#include <functional>
#include <span>

#include "model/instance.h"
#include "text/token.h"

namespace minke {

// Cuts tokens into windows of `window` tokens, the last one shorter, and hands over each with `start` before
// it, where that is >= 0; done: tokens of the text up to the window's end.
void for_each_window(std::span<const Token> tokens, int window, Token start,
                     const std::function<void(std::span<const Token>, int64_t done)>& f);

// Runs a window from an empty context on every instance at once, step by step, so that no more logits are in
// memory than a step's logit_rows of each. f(first, count, logits): those of positions first .. first + count
// - 1, [count][vocab] of each instance. Throws Error where the window does not fit.
void run_window(std::span<Instance* const> instances, std::span<const Token> window,
                const std::function<void(int first, int count, std::span<const float* const> logits)>& f);

}  // namespace minke
