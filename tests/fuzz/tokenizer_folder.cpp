// Any bytes as the files of a tokenizer's folder: what is accepted tokenizes with the ids that it gives, and is the same
// when it has been written and read again.
#include <fstream>

#include "data/tokenizer_files.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

/// The input's parts are these files, one after another; an empty one is not there.
constexpr const char* kFiles[] = {"vocab.txt", "tokenizer.json", "tokenizer_config.json",
                                  "special_tokens_map.json", "added_tokens.json"};
constexpr std::string_view kBetween = "\n=====\n";

minima::Encoding encode(const minima::Tokenizer& tokenizer) {
  return tokenizer.encode("Caf\u00E9 [MASK] unwantedly\x01 <x>\u4E2D\u0130 a", "b",
                          {.truncation = minima::Truncation::none});
}

}  // namespace

void minima::fuzz(std::string_view input) {
  static const ScratchFolder folder;
  for (const char* file : kFiles) {
    const std::string_view part = input.substr(0, input.find(kBetween));
    input.remove_prefix(std::min(input.size(), part.size() + kBetween.size()));
    std::filesystem::remove(folder / file);
    if (!part.empty()) std::ofstream(folder / file, std::ios::binary) << part;
  }
  const Tokenizer tokenizer = read_tokenizer(folder / "");
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  const Encoding encoding = encode(tokenizer);
  for (const i32 id : encoding.ids) vocabulary.token(id);
  require(encoding.ids.front() == vocabulary.special().cls, "it begins with [CLS]");

  static const ScratchFolder written;
  for (const char* file : kFiles) std::filesystem::remove(written / file);
  write_tokenizer(written / "", tokenizer, 128);
  const Tokenizer again = read_tokenizer(written / "");
  require(again.vocabulary().tokens() == vocabulary.tokens(), "the tokens survive");
  require(encode(again).ids == encoding.ids, "a text has the same ids");
}
