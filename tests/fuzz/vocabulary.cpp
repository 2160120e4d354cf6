// vocab.txt: what is accepted finds each of its tokens again, and cuts words into pieces that it has.
#include "data/vocabulary.hpp"

#include "tests/fuzz/fuzz.hpp"

void minima::fuzz(std::string_view input) {
  const Vocabulary vocabulary = Vocabulary::parse(input, "vocab.txt");
  for (i64 id = 0; id < vocabulary.size(); ++id)
    require(vocabulary.find(vocabulary.token(id)) == id, "a token has its id");
  const std::string_view word = input.substr(0, 300);
  const auto [id, bytes] = vocabulary.longest_match(word, false);
  require(id < 0 || vocabulary.token(id) == word.substr(0, bytes), "a match begins the word");
}
