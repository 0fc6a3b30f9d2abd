#pragma once
// Who answers in `chat`: a model in this process, or a server.

#include <functional>
#include <memory>
#include <string>

#include "cli/server_flags.h"

namespace minke {

struct Spoken {
  Json message;       // the answer, as a conversation has it
  std::string rates;  // a line about it
  bool context_full = false;
};

class Talker {
 public:
  virtual ~Talker() = default;
  virtual std::string title() const = 0;
  // Prints the answer as it comes. `stop` is asked meanwhile, and true ends it. Throws Error.
  virtual Spoken answer(const ChatPrompt& prompt, const SamplingFlags& sampling,
                        const std::function<bool()>& stop) = 0;
};

std::unique_ptr<Talker> local_talker(const EngineFlags& flags);   // loads the model
std::unique_ptr<Talker> server_talker(const ServerFlags& flags);  // asks which models there are

// Prints an answer of a server's as it comes: reasoning as the models here write it, calls at the end.
class ServerPrinter {
 public:
  ServerClient::Show show(std::function<bool()> stop);
  void end(const ServerAnswer& answer);

 private:
  enum class At : uint8_t { start, reasoning, content } at_ = At::start;
};

}  // namespace minke
