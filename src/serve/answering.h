#pragma once
// A completion from its request to the end of its reply.

#include <functional>
#include <memory>
#include <optional>

#include "api/dialect.h"
#include "serve/keys.h"

namespace minke {

class Visit;
struct ServeState;

// Answers, streamed or whole; gives up when the client is gone. `done` is called behind the last event of an
// answer that came to its end, before the client hears of it. Throws Error where the request is refused.
void answer(const std::shared_ptr<Visit>& visit, Exchange exchange,
            std::function<void(const AnswerWriter&)> done = {});

// A place in the queue, given back at the end.
class Place {
 public:
  // Null after a fault was sent: the queue is full.
  static std::shared_ptr<Place> take(Visit& visit);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  Place(std::shared_ptr<ServeState> state, std::optional<ApiKey> key);
  const std::shared_ptr<ServeState> state_;
  const std::optional<ApiKey> key_;
};

// The completer, or null after a fault was sent: it is loading, or the model is another one.
std::shared_ptr<Completer> completer_for(Visit& visit);
bool model_fits(Visit& visit, const Completer& completer, const std::string& model);

}  // namespace minke
