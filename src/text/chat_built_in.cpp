#include "text/chat_built_in.h"

namespace minke {
namespace {

constexpr std::string_view kChatMl = R"({%- if tools %}
  {{- raise_exception('the built-in format chatml has no tools; give the model\'s own template') }}
{%- endif %}
{%- for message in messages %}
  {%- if message.tool_calls %}
    {{- raise_exception('the built-in format chatml has no tool calls; give the model\'s own template') }}
  {%- endif %}
  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
{%- endif %})";

constexpr std::string_view kLlama3 = R"({%- if tools %}
  {{- raise_exception('the built-in format llama3 has no tools; give the model\'s own template') }}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
  {%- if message.tool_calls %}
    {{- raise_exception('the built-in format llama3 has no tool calls; give the model\'s own template') }}
  {%- endif %}
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";

constexpr std::string_view kLlama4 = R"({%- if tools %}
  {{- raise_exception('the built-in format llama4 has no tools; give the model\'s own template') }}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
  {%- if message.tool_calls %}
    {{- raise_exception('the built-in format llama4 has no tool calls; give the model\'s own template') }}
  {%- endif %}
  {{- '<|header_start|>' + message.role + '<|header_end|>\n\n' + message.content | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|header_start|>assistant<|header_end|>\n\n' }}
{%- endif %})";

// V3 and R1: where it `thinks`, only what follows an earlier answer's reasoning is kept, and a new one starts
// inside of it.
constexpr std::string_view kDeepSeekV3 = R"({%- if tools %}
  {{- raise_exception('this built-in format cannot tell the model of tools; give the model\'s own template') }}
{%- endif %}
{{- bos_token }}
{{- messages | selectattr('role', 'eq', 'system') | map(attribute='content') | join('\n\n') }}
{%- set ns = namespace(results=0) %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- '<｜tool▁outputs▁begin｜>' if ns.results == 0 else '\n' }}
    {{- '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
    {%- set ns.results = ns.results + 1 %}
    {%- if loop.last or loop.nextitem.role != 'tool' %}
      {{- '<｜tool▁outputs▁end｜>' }}
    {%- endif %}
  {%- elif message.role == 'user' %}
    {{- '<｜User｜>' + message.content }}
    {%- set ns.results = 0 %}
  {%- elif message.role == 'assistant' %}
    {{- '<｜Assistant｜>' if ns.results == 0 }}
    {{- ((message.content or '').split('</think>')[-1] if thinks else message.content or '') }}
    {%- for call in message.tool_calls or [] %}
      {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' }}
      {%- set arguments = call.function.arguments %}
      {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name + '\n```json\n' }}
      {{- arguments if arguments is string else arguments | tojson }}
      {{- '\n```<｜tool▁call▁end｜>' }}
      {{- '<｜tool▁calls▁end｜>' if loop.last }}
    {%- endfor %}
    {{- '<｜end▁of▁sentence｜>' }}
    {%- set ns.results = 0 %}
  {%- elif message.role != 'system' %}
    {{- raise_exception('this built-in format has no role ' + message.role) }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.results == 0 %}
  {{- '<｜Assistant｜><think>\n' if thinks else '<｜Assistant｜>' }}
{%- endif %})";

constexpr std::string_view kDeepSeekV31 = R"({%- if tools %}
  {{- raise_exception('this built-in format cannot tell the model of tools; give the model\'s own template') }}
{%- endif %}
{%- set thinks = thinking if thinking is defined else enable_thinking | default(false) %}
{{- bos_token }}
{{- messages | selectattr('role', 'eq', 'system') | map(attribute='content') | join('\n\n') }}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
    {{- '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
  {%- elif message.role == 'user' %}
    {{- '<｜User｜>' + message.content }}
  {%- elif message.role == 'assistant' %}
    {%- if not loop.first and loop.previtem.role == 'user' %}
      {{- '<｜Assistant｜></think>' }}
    {%- endif %}
    {{- (message.content or '').split('</think>', 1)[-1] }}
    {%- for call in message.tool_calls or [] %}
      {{- '<｜tool▁calls▁begin｜>' if loop.first }}
      {%- set arguments = call.function.arguments %}
      {{- '<｜tool▁call▁begin｜>' + call.function.name + '<｜tool▁sep｜>' }}
      {{- arguments if arguments is string else arguments | tojson }}
      {{- '<｜tool▁call▁end｜>' }}
      {{- '<｜tool▁calls▁end｜>' if loop.last }}
    {%- endfor %}
    {{- '<｜end▁of▁sentence｜>' }}
  {%- elif message.role != 'system' %}
    {{- raise_exception('this built-in format has no role ' + message.role) }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and messages and messages[-1].role != 'tool' %}
  {{- '<｜Assistant｜>' + ('<think>' if thinks else '</think>') }}
{%- endif %})";

constexpr BuiltInTemplate kTemplates[] = {
    {"chatml", "", kChatMl},
    {"llama3", "", kLlama3},
    {"llama4", "", kLlama4},
    {"deepseek-v3", "{%- set thinks = false %}", kDeepSeekV3},
    {"deepseek-r1", "{%- set thinks = true %}", kDeepSeekV3},
    {"deepseek-v3.1", "", kDeepSeekV31},
};

}  // namespace

std::span<const BuiltInTemplate> built_in_templates() { return kTemplates; }

std::string_view recognise_format(const std::function<bool(std::string_view token)>& has_token) {
  if (!has_token) return {};
  // R1 and its distills, V3.1 and V3.2 name <think>, V3 does not. The distills kept the chat tokens of their
  // base models, so DeepSeek's are looked for first.
  if (has_token("<｜User｜>") && has_token("<｜Assistant｜>"))
    return has_token("<think>") ? "deepseek-r1" : "deepseek-v3";
  if (has_token("<|header_start|>") && has_token("<|eot|>")) return "llama4";
  if (has_token("<|start_header_id|>") && has_token("<|eot_id|>")) return "llama3";
  if (has_token("<|im_start|>") && has_token("<|im_end|>")) return "chatml";
  return {};
}

}  // namespace minke
