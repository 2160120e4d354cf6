/// The tokenizer's speed, for bench/compare_tokenizers.py to alternate with the PyPI package `tokenizers` (bench/serve.hpp):
/// answers each line `encode` with one about ids, types, masks and offsets of every text, on one thread.
///
///     tokenize VOCABULARY TEXTS [cased]      TEXTS: one a line
#include <CLI/CLI.hpp>
#include <ctime>
#include <fstream>

#include "bench/serve.hpp"
#include "data/tokenizer_files.hpp"

using namespace minima;

namespace {

/// What this process has used of a processor: other programs that run do not count.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) try {
  std::string vocabulary, path, casing;
  CLI::App app("The tokenizer's speed: answers the lines `encode`.");
  app.add_option("vocabulary", vocabulary)->required();
  app.add_option("texts", path, "one a line")->required()->check(CLI::ExistingFile);
  app.add_option("casing", casing)->check(CLI::IsMember({"cased"}));
  CLI11_PARSE(app, argc, argv);
  const Tokenizer tokenizer =
      read_tokenizer(vocabulary, casing.empty() ? std::nullopt : std::optional(Casing::cased));
  std::vector<std::string> texts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) texts.push_back(line);

  Encoding encoding;
  bench::serve([&](const std::string& line) -> Json {
    check(line == "encode", "unknown line '{}'; known: encode, quit", line);
    const double start = processor_seconds();
    i64 count = 0;
    u64 sum = 0;  // of all ids at their places, so that the peers can be compared
    for (const std::string& text : texts) {
      tokenizer.encode(text, {}, {.truncation = Truncation::none}, encoding);
      count += encoding.size();
      for (i64 i = 0; i < encoding.size(); ++i)
        sum += static_cast<u64>(encoding.ids[i]) * static_cast<u64>(i + 1);
    }
    const double seconds = processor_seconds() - start;
    return {{"texts", texts.size()}, {"tokens", count}, {"sum", sum}, {"seconds", seconds}};
  });
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
