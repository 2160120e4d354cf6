/// The name of Json, for headers that only pass it on.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace minima {

using Json = nlohmann::ordered_json;

}  // namespace minima
