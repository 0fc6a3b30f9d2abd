#pragma once
// gzip (RFC 1952): large tokenizer.json files are sometimes kept compressed.

#include <string>

#include "base/file.h"

namespace minke {

bool is_gzip(Bytes bytes);  // by its first bytes

// The content, of all members one after the other. Throws Error: damaged, cut short, followed by something
// else, or longer than max_bytes.
std::string gunzip(Bytes bytes, size_t max_bytes);

}  // namespace minke
