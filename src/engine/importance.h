#pragma once
// Which columns of each weight matrix a text uses, so that quantising may spare these (docs/quantizing.md).

#include <functional>
#include <span>

#include "formats/importance.h"
#include "model/instance.h"
#include "text/token.h"

namespace minke {

// Runs the text in windows, as perplexity() cuts them, and sums the squares of all that met each column of
// each matrix; of a stack of experts or heads, for each of them. Where limits.mtp is set the MTP layer runs
// as well, and where limits.inspect is, the indexer makes its queries from the first token on. The head
// counts as met by the final hidden state of every token. Tensors have the names they have, or would have, in
// a GGUF file. The same sums come out with any number of threads. progress(done, all) after each window, in
// tokens. Throws Error: the text is empty, the model gives values that are not finite.
ImportanceMatrix collect_importance(Instance& instance, std::span<const Token> tokens, int window,
                                    Token start, const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace minke
