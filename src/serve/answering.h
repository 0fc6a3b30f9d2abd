#pragma once
// A completion from its request to the end of its reply.

#include <functional>
#include <memory>

#include "api/dialect.h"

namespace minke {

class Visit;

// Answers, streamed or whole; gives up when the client is gone. `done` is called behind the last event of an
// answer that came to its end, before the client hears of it. Throws Error where the request is refused.
void answer(const std::shared_ptr<Visit>& visit, Exchange exchange,
            std::function<void(const AnswerWriter&)> done = {});

// The completer, or null after a fault was sent: it is loading, or the model is another one.
std::shared_ptr<Completer> completer_for(Visit& visit);
bool model_fits(Visit& visit, const Completer& completer, const std::string& model);

}  // namespace minke
