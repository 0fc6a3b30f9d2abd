#pragma once
// The commands: one source file each, which parses, calls and prints.

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace minke {

// What the chosen command does once all flags are parsed; returns the exit code.
using Action = std::function<int()>;

// An Error whose subject is a flag ("--isa") ends with kExitUsage, any other with kExitFailed.
constexpr int kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitInterrupted = 130;

// Each adds its subcommand to the app; when that is chosen, `action` is set.
void add_bench(CLI::App& app, Action& action);
void add_chat(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_data(CLI::App& app, Action& action);
void add_imatrix(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_kl(CLI::App& app, Action& action);
void add_models(CLI::App& app, Action& action);
void add_perplexity(CLI::App& app, Action& action);
void add_pull(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_render(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_serve(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_tokenizer(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);

}  // namespace minke
