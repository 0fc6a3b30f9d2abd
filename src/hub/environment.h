#pragma once
// Where models are and how the hub is reached, from the variables the hub's own tools know. Reads no
// environment itself: the command line hands it a lookup.

#include <functional>
#include <optional>

#include "hub/hub_client.h"
#include "hub/local_models.h"

namespace minke {

// The value of a variable; nothing where it is not set. An empty one counts as not set.
using Variables = std::function<std::optional<std::string>(const char* name)>;

// HF_ENDPOINT; HF_TOKEN, else the file HF_TOKEN_PATH or HF_HOME/token; HF_HUB_CACHE, else HF_HOME/hub,
// HF_HOME being XDG_CACHE_HOME/huggingface or ~/.cache/huggingface; HF_HUB_OFFLINE; https_proxy, http_proxy,
// all_proxy, no_proxy in small letters or capitals (http_proxy in small ones only: a web server's scripts are
// sent HTTP_PROXY by strangers). Throws Error where the token's file cannot be read.
HubOptions hub_options(const Variables& variables);

// The cache as above; Minke's own folder: XDG_DATA_HOME/minke/models or ~/.local/share/minke/models.
ModelPlaces model_places(const Variables& variables);

}  // namespace minke
