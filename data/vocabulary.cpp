#include "data/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>

#include "core/error.hpp"
#include "core/files/file.hpp"
#include "core/text/utf8.hpp"
#include "data/readers/lines.hpp"
#include "data/word_scanner.hpp"

namespace minima {
namespace {

// FNV-1a: it grows byte by byte, so the hashes of all prefixes of a word cost no more than one.
constexpr u64 kEmptyHash = 0xCBF29CE484222325u;
constexpr u64 extend(u64 hash, char byte) {
  return (hash ^ static_cast<u8>(byte)) * 0x100000001B3u;
}
constexpr u64 extend(u64 hash, std::string_view bytes) {
  for (const char byte : bytes) hash = extend(hash, byte);
  return hash;
}

constexpr std::string_view kBlanks = " \t\r";

std::size_t first_slot(u64 hash) { return hash ^ hash >> 29; }
u32 tag(u64 hash) { return static_cast<u32>(hash >> 32); }

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& source,
                       VocabularyNames names)
    : Vocabulary(std::move(tokens), source, std::move(names), i64{1} << 31) {}

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& source,
                       VocabularyNames names, i64 pieces)
    : tokens_(std::move(tokens)),
      slots_(std::bit_ceil(4 * tokens_.size() + 4)),
      pieces_(static_cast<i32>(std::min(pieces, size()))),
      names_(std::move(names)),
      continues_hash_(extend(kEmptyHash, names_.continues)) {
  for (i32 id = 0; id < static_cast<i32>(tokens_.size()); ++id) {
    const std::string& token = tokens_[id];
    check(!token.empty(), "{}: token {} is empty", source, id);
    check(find_invalid_utf8(token) == std::string::npos, "{}: token {} is not valid UTF-8", source,
          id);
    const i32 earlier = find(token);
    check(earlier < 0, "{}: '{}' is both token {} and token {}", source, shown(token), earlier, id);
    if (id < pieces_) longest_ = std::max(longest_, static_cast<u32>(token.size()));
    const u64 hash = extend(kEmptyHash, token);
    std::size_t slot = first_slot(hash) & (slots_.size() - 1);
    while (slots_[slot].id >= 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = {tag(hash), id};
  }
  const std::pair<i32*, const std::string*> special[] = {{&special_.pad, &names_.pad},
                                                         {&special_.unk, &names_.unk},
                                                         {&special_.cls, &names_.cls},
                                                         {&special_.sep, &names_.sep}};
  for (const auto& [id, name] : special) {
    *id = find(*name);
    check(*id >= 0, "{}: has no {}; a vocabulary needs {}, {}, {} and {}", source, shown(*name),
          shown(names_.pad), shown(names_.unk), shown(names_.cls), shown(names_.sep));
  }
  special_.mask = find(names_.mask);
}

Vocabulary Vocabulary::read(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

Vocabulary Vocabulary::parse(std::string_view text, const std::string& source) {
  return Vocabulary(tokens_in(text, source), source);
}

std::vector<std::string> Vocabulary::tokens_in(std::string_view text, const std::string& source) {
  check(!text.empty(), "{}: is empty; a vocabulary holds one token per line", source);
  check(!text.starts_with(kByteOrderMark),
        "{}:1: begins with a byte order mark, which would be a part of the first token; save the "
        "file as UTF-8 without one",
        source);
  std::vector<std::string> tokens;
  std::unordered_map<std::string_view, i64> line_of;
  for (Lines lines(text, source); lines.next();) {
    const std::string_view line = lines.line();
    check(!line.empty(), "{}:{}: the line is empty; each holds one token, the last one too", source,
          lines.number());
    check(line.find_first_of(kBlanks) != 0 && line.find_last_of(kBlanks) != line.size() - 1,
          "{}:{}: the token '{}' begins or ends with a blank, which no word does", source,
          lines.number(), shown(line));
    const auto [earlier, is_new] = line_of.emplace(line, lines.number());
    check(is_new, "{}:{}: the token '{}' stands in line {} already", source, lines.number(),
          shown(line), earlier->second);
    tokens.emplace_back(line);
  }
  return tokens;
}

void Vocabulary::write(const std::filesystem::path& path) const {
  std::string text;
  for (i64 id = 0; id < pieces_; ++id) text += tokens_[static_cast<std::size_t>(id)] + "\n";
  write_file(path, text);
}

const std::string& Vocabulary::token(i64 id) const {
  check(0 <= id && id < size(), "vocabulary: no token {}; ids are 0 … {}", id, size() - 1);
  return tokens_[id];
}

i32 Vocabulary::look_up(u64 hash, std::string_view prefix, std::string_view rest) const {
  for (std::size_t slot = first_slot(hash);; ++slot) {
    const Slot& found = slots_[slot & (slots_.size() - 1)];
    if (found.id < 0) return -1;
    if (found.tag != tag(hash)) continue;
    const std::string_view token = tokens_[found.id];
    if (token.size() == prefix.size() + rest.size() && token.starts_with(prefix) &&
        token.ends_with(rest))
      return found.id;
  }
}

i32 Vocabulary::find(std::string_view token) const {
  return look_up(extend(kEmptyHash, token), {}, token);
}

Vocabulary::Match Vocabulary::longest_match(std::string_view word, bool continues) const {
  std::array<u64, 4 * kMostWordCharacters> hashes;  // of the prefixes of `word`
  u64 hash = continues ? continues_hash_ : kEmptyHash;
  const std::size_t limit = std::min({word.size(), std::size_t{longest_}, hashes.size()});
  for (std::size_t i = 0; i < limit; ++i) hashes[i] = hash = extend(hash, word[i]);
  for (std::size_t bytes = limit; bytes > 0; --bytes) {
    const i32 id =
        look_up(hashes[bytes - 1], continues ? names_.continues : "", word.substr(0, bytes));
    if (id >= 0 && id < pieces_) return {id, bytes};
  }
  return {-1, 0};
}

}  // namespace minima
