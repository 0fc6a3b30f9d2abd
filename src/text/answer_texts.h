#pragma once
// Fixed texts of answers, by format (MODEL.md 5.3).

#include <string_view>

namespace minke::answer_texts {

inline constexpr std::string_view kThinkOpen = "<think>";
inline constexpr std::string_view kThinkClose = "</think>";

// DeepSeek V3, R1, V3.1.
inline constexpr std::string_view kCallsBegin = "<｜tool▁calls▁begin｜>";
inline constexpr std::string_view kCallsEnd = "<｜tool▁calls▁end｜>";
inline constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>";
inline constexpr std::string_view kCallEnd = "<｜tool▁call▁end｜>";
inline constexpr std::string_view kSep = "<｜tool▁sep｜>";
inline constexpr std::string_view kFence = "```json";
inline constexpr std::string_view kFenceEnd = "```";

// DeepSeek V3.2.
inline constexpr std::string_view kDsml = "｜DSML｜";
inline constexpr std::string_view kBlockOpen = "\n\n<｜DSML｜function_calls";
inline constexpr std::string_view kBlockClose = "</｜DSML｜function_calls>";
inline constexpr std::string_view kInvoke = "<｜DSML｜invoke";
inline constexpr std::string_view kInvokeClose = "</｜DSML｜invoke";
inline constexpr std::string_view kParameter = "<｜DSML｜parameter";
inline constexpr std::string_view kParameterClose = "</｜DSML｜parameter";

// Hermes, Qwen.
inline constexpr std::string_view kToolCall = "<tool_call>";
inline constexpr std::string_view kToolCallClose = "</tool_call>";

// Llama 3 and 4.
inline constexpr std::string_view kPythonTag = "<|python_tag|>";
inline constexpr std::string_view kPythonStart = "<|python_start|>";
inline constexpr std::string_view kPythonEnd = "<|python_end|>";

}  // namespace minke::answer_texts
