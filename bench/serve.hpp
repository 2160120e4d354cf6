/// Programs that take turns with others (bench/turns.py).
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "core/error.hpp"
#include "core/files/json.hpp"

namespace minima::bench {

/// Says "ready", then answers each line of standard input, until `quit` or the end, with a line of JSON: answer(line), or
/// what stands against it.
template <class F>
void serve(const F& answer) {
  const auto say = [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  };
  say("ready");
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    Json result;
    try {
      result = answer(line);
    } catch (const Error& error) {
      result = {{"error", error.what()}};
    }
    say(result.dump());
  }
}

}  // namespace minima::bench
