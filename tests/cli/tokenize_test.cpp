/// minima tokenize.
#include "tests/cli/shell.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("tokenize answers each line with ids, tokens and offsets in characters") {
  const Shell shell;
  shell.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##able\ncafe\n\"\n");
  const Answer plain = shell.minima("tokenize --vocab vocab.txt", "unable\n\nCAF\u00C9 \"x\n");
  CAPTURE(plain.err);
  CHECK(plain.code == 0);
  CHECK(plain.out ==
        "2 5 6 3\t[CLS] un ##able [SEP]\t0:0 0:2 2:6 0:0\n2 3\t[CLS] [SEP]\t0:0 0:0\n"
        "2 7 8 1 3\t[CLS] cafe \" [UNK] [SEP]\t0:0 0:4 5:6 6:7 0:0\n");
  const Answer json = shell.minima("tokenize --vocab vocab.txt --cased --json", "caf\xE9 cafe \"");
  CHECK(json.out ==
        "{\"ids\":[2,1,7,8,3],\"tokens\":[\"[CLS]\",\"[UNK]\",\"cafe\",\"\\\"\",\"[SEP]\"],"
        "\"offsets\":[[0,0],[0,3],[5,9],[10,11],[0,0]]}\n");
  const Answer pairs = shell.minima("tokenize --vocab vocab.txt --pairs --max-length 6",
                                    "un un un\tcafe cafe\nun\t\n");
  CHECK(pairs.out ==
        "2 5 5 3 7 3\t[CLS] un un [SEP] cafe [SEP]\t0:0 0:2 3:5 0:0 0:4 0:0\t0 0 0 0 1 1\n"
        "2 5 3\t[CLS] un [SEP]\t0:0 0:2 0:0\t0 0 0\n");
  for (const auto& [cut, ids] : {std::pair("longest_first", "[2,5,5,3,7,7,3],"),
                                 {"only_first", "[2,5,3,7,7,7,3],"},
                                 {"only_second", "[2,5,5,5,3,7,3],"}}) {
    const Answer answer = shell.minima(
        std::string("tokenize --vocab vocab.txt --pairs --json --max-length 7 --truncation ") + cut,
        "un un un\tcafe cafe cafe\n");
    CHECK(answer.out.starts_with(std::string("{\"ids\":") + ids));
    CHECK(answer.out.find(",\"type_ids\":[0,0,0,") != std::string::npos);
  }

  const auto refused = [&](const std::string& arguments, const std::string& input,
                           const std::vector<std::string>& words) {
    const Answer answer = shell.minima("tokenize " + arguments, input);
    CAPTURE(answer.err);
    CHECK(answer.code == 2);
    CHECK(std::ranges::count(answer.err, '\n') == 1);
    for (const std::string& word : words) CHECK(answer.err.find(word) != std::string::npos);
  };
  refused("", "", {"--vocab"});
  refused("--vocab none.txt", "", {"none.txt"});
  refused("--vocab vocab.txt --pairs", "un\tun\nun\n", {"standard input:2", "no tab"});
  refused("--vocab vocab.txt --pairs", "un\tun\nun\tun\tun\n", {"standard input:2", "2 tabs"});
  refused("--vocab none.txt --max-length 1", "", {"--max-length is 1;", "alone are 2"});
  refused("--vocab none.txt --max-length 2 --pairs", "", {"--max-length is 2;", "alone are 3"});
  refused("--vocab vocab.txt --truncation only_first", "", {"--max-length"});
  refused("--vocab vocab.txt --max-length 9 --truncation only_second", "", {"--pairs"});
  refused("--vocab vocab.txt --pairs --max-length 4 --truncation only_first", "un\tun un un\n",
          {"line 1", "longest_first"});
  refused("--vocab vocab.txt --max-length 9 --truncation shortest", "", {"shortest"});
  refused("--vocab . --cased", "", {"--cased", "vocab.txt"});
}
