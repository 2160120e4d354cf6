// The tokenizer against the output of BertTokenizerFast: every line of the reference files, or of
// the small subset in tests/golden where they are not at hand. Exact.
#include <fstream>
#include <map>

#include "core/files/json.hpp"
#include "data/tokenizer.hpp"
#include "tests/support.hpp"

namespace minima {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

/// The tokenizer with the vocabulary that the files call `name`: "uncased8k" is
/// vocab-uncased-8k.txt. Throws Error where the reference set has none of that name.
const Tokenizer& tokenizer_of(const std::string& name) {
  static std::map<std::string, Tokenizer> known;
  if (const auto found = known.find(name); found != known.end()) return found->second;
  const auto folder = test::reference("tokenizer");
  std::string wanted = "vocab" + name;
  std::erase(wanted, '-');
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string stem = entry.path().stem().string();
    std::erase(stem, '-');
    if (stem != wanted) continue;
    const Casing casing = test::contains(name, "uncased") ? Casing::uncased : Casing::cased;
    return known.emplace(name, Tokenizer(Vocabulary::read(entry.path()), casing)).first->second;
  }
  fail("the vocabulary '{}' is not in {}", name, folder.string());
}

/// Calls f for every line of a file of the reference.
template <class F>
void for_each_line(const std::string& file, const F& f) {
  const auto path = test::reference("tokenizer/" + file);
  if (path.empty()) return;
  std::ifstream lines(path);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    test::try_case(fmt::format("{}, line {}", file, count + 1),
                   [&] { f(parse_json(line, path.string())); });
  CHECK(count > 0);
}

std::vector<i32> flat(const std::vector<Span>& spans) {
  std::vector<i32> result;
  for (const Span& span : spans) result.insert(result.end(), {span.begin, span.end});
  return result;
}
std::vector<i32> flat(const Json& pairs) {
  std::vector<i32> result;
  for (const Json& pair : pairs) result.insert(result.end(), {pair[0], pair[1]});
  return result;
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("ids, tokens and offsets equal the reference tokenizer's") {
    int compared = 0;
    for_each_line("cases.jsonl", [&](const Json& line) {
      const std::string text =
          line.contains("text") ? line["text"].get<std::string>() : from_hex(line["bytes_hex"]);
      for (const auto& [name, expected] : line.items()) {
        if (!expected.is_object()) continue;
        CAPTURE(name);
        const Tokenizer& tokenizer = tokenizer_of(name);
        const Encoding encoding = tokenizer.encode(text, {.truncation = Truncation::none});
        std::vector<std::string> tokens;
        for (const i32 id : encoding.ids) tokens.push_back(tokenizer.vocabulary().token(id));
        CHECK(encoding.ids == expected["ids"].get<std::vector<i32>>());
        CHECK(tokens == expected["tokens"].get<std::vector<std::string>>());
        if (expected.contains("offsets"))
          CHECK(flat(encoding.offsets) == flat(expected["offsets"]));
        ++compared;
      }
    });
    MESSAGE(compared << " encodings compared");
  }

  TEST_CASE("pairs are cut, padded and refused as the reference tokenizer does") {
    const std::map<std::string, Truncation> ways = {{"longest_first", Truncation::longest_first},
                                                    {"only_first", Truncation::only_first},
                                                    {"only_second", Truncation::only_second}};
    for_each_line("pairs.jsonl", [&](const Json& line) {
      const Tokenizer& tokenizer = tokenizer_of(line["vocab"].get_ref<const std::string&>());
      const EncodeOptions options = {
          .max_length = line["max_length"].is_null() ? 0 : line["max_length"].get<i64>(),
          .truncation =
              line["truncation"].is_string() ? ways.at(line["truncation"]) : Truncation::none};
      const std::string a = line["a"], b = line["b"].is_null() ? "" : line["b"].get<std::string>();
      if (line.contains("error")) {
        CHECK_THROWS_AS(tokenizer.encode(a, b, options), Error);
        return;
      }
      Encoding encoding = tokenizer.encode(a, b, options);
      if (line["padding"] == "max_length") tokenizer.pad(encoding, options.max_length);
      CHECK(encoding.ids == line["ids"].get<std::vector<i32>>());
      CHECK(encoding.type_ids == line["type_ids"].get<std::vector<i32>>());
      CHECK(encoding.attention_mask == line["attention_mask"].get<std::vector<i32>>());
      CHECK(encoding.special_tokens_mask == line["special_tokens_mask"].get<std::vector<i32>>());
      CHECK(flat(encoding.offsets) == flat(line["offsets"]));
    });
  }

  TEST_CASE("batches are padded as the reference tokenizer does") {
    for_each_line("batches.jsonl", [&](const Json& line) {
      const Tokenizer& tokenizer = tokenizer_of(line["vocab"].get_ref<const std::string&>());
      const Json& wanted = line["options"];
      const i64 max_length = wanted.value("max_length", i64{0});
      const EncodeOptions options = {
          .max_length = max_length,
          .truncation = max_length > 0 ? Truncation::longest_first : Truncation::none};
      std::vector<Encoding> batch;
      i64 length = 0;
      for (const Json& text : line["texts"]) {
        batch.push_back(tokenizer.encode(text.get<std::string>(), options));
        length = std::max(length, batch.back().size());
      }
      if (wanted["padding"] == "max_length") length = max_length;
      const i64 multiple = wanted.value("pad_to_multiple_of", i64{1});
      length = (length + multiple - 1) / multiple * multiple;
      for (std::size_t i = 0; i < batch.size(); ++i) {
        tokenizer.pad(batch[i], length);
        CHECK(batch[i].ids == line["ids"][i].get<std::vector<i32>>());
        CHECK(batch[i].type_ids == line["type_ids"][i].get<std::vector<i32>>());
        CHECK(batch[i].attention_mask == line["attention_mask"][i].get<std::vector<i32>>());
      }
    });
  }
}

}  // namespace minima
