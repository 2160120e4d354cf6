/// minima tokenize: lines of standard input as ids, tokens and offsets.
#include <unistd.h>

#include <tuple>

#include "core/files/json.hpp"
#include "data/readers/lines.hpp"
#include "data/tokenizer_files.hpp"
#include "examples/minima/options.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"

namespace minima {
namespace {

struct TokenizeVerb {
  std::string vocab, truncation;
  bool cased = false, uncased = false, json = false, pairs = false;
  std::optional<i64> max_length;

  EncodeOptions encode_options() const {
    check(truncation.empty() || max_length,
          "--truncation says how to cut; --max-length says to what length, and is missing");
    if (!max_length) return {.truncation = Truncation::none};
    check(truncation != "only_second" || pairs, "--truncation only_second needs --pairs");
    check(*max_length >= 2 + pairs, "--max-length is {}; the special tokens alone are {}",
          *max_length, 2 + pairs);
    return {.max_length = *max_length,
            .truncation = truncation == "only_first"    ? Truncation::only_first
                          : truncation == "only_second" ? Truncation::only_second
                                                        : Truncation::longest_first};
  }

  template <class Items, class Write>
  static void list(std::string& out, const Items& items, const char* between, const Write& write) {
    bool first = true;
    for (const auto& item : items) {
      if (!first) out += between;
      first = false;
      write(std::back_inserter(out), item);
    }
  }

  /// One line of output for an encoding.
  void write(std::string& out, const Encoding& encoding,
             const std::vector<std::string>& tokens) const {
    const auto number = [](auto to, i32 x) { fmt::format_to(to, "{}", x); };
    const auto token = [&](auto to, i32 id) {
      fmt::format_to(to, "{}", tokens[static_cast<std::size_t>(id)]);
    };
    out += json ? "{\"ids\":[" : "";
    list(out, encoding.ids, json ? "," : " ", number);
    out += json ? "],\"tokens\":[" : "\t";
    list(out, encoding.ids, json ? "," : " ", token);
    out += json ? "],\"offsets\":[" : "\t";
    list(out, encoding.offsets, json ? "," : " ", [&](auto to, const Span& span) {
      fmt::format_to(to, fmt::runtime(json ? "[{},{}]" : "{}:{}"), span.begin, span.end);
    });
    out += json ? "]" : "";
    if (pairs) {
      out += json ? ",\"type_ids\":[" : "\t";
      list(out, encoding.type_ids, json ? "," : " ", number);
      out += json ? "]" : "";
    }
    out += json ? "}\n" : "\n";
  }

  void run() const {
    const EncodeOptions options = encode_options();
    const Tokenizer tokenizer = read_tokenizer(vocab, chosen_casing(cased, uncased));
    std::vector<std::string> tokens;
    for (const std::string& token : tokenizer.vocabulary().tokens())
      tokens.push_back(json ? Json(token).dump() : token);

    std::string out;
    const auto answer = [&] {
      if (!json) out = for_output(std::move(out));
      std::fwrite(out.data(), 1, out.size(), stdout);
      flush_output();
      out.clear();
    };
    Lines input = Lines::of_stream(STDIN_FILENO, "standard input");
    Encoding encoding;
    try {
      while (input.next()) {
        encode(tokenizer, input, options, encoding);
        write(out, encoding, tokens);
        if (out.size() > (1 << 16) || !input.ready()) answer();
      }
    } catch (const Error& error) {
      if (error.fault == Fault::input) answer();  // what came before a bad line
      throw;
    }
    answer();
  }

  void encode(const Tokenizer& tokenizer, const Lines& input, const EncodeOptions& options,
              Encoding& encoding) const {
    std::string_view a = input.line(), b;
    if (pairs) std::tie(a, b) = pair_of(input);
    try {
      tokenizer.encode(a, b, options, encoding);
    } catch (const Error& error) {
      fail("tokenize: line {}: {}", input.number(), error.what());
    }
  }
};

}  // namespace

void add_tokenize(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("tokenize", "the lines of standard input as ids, tokens and offsets");
  verb.footer(
      "A line of output for each line: ids, tokens, offsets, and with --pairs the type ids, "
      "between\n"
      "tabs; or a JSON document with these names. An offset is [begin, end) in characters (code\n"
      "points, not bytes) of the line, or of the text of the pair; [CLS] and [SEP] have 0, 0. "
      "Bytes\n"
      "that are not UTF-8 count as one character for each ill-formed part. A line has at most a\n"
      "megabyte (2^20 bytes).");
  const auto options = std::make_shared<TokenizeVerb>();
  verb.add_option("--vocab", options->vocab,
                  "vocab.txt, tokenizer.json, or a folder with one of them")
      ->required();
  add_casing_options(verb, options->cased, options->uncased, "with a vocab.txt");
  verb.add_flag("--json", options->json, "a JSON document a line");
  verb.add_flag("--pairs", options->pairs, "each line is a pair: text<TAB>text");
  verb.add_option("--max-length", options->max_length,
                  "tokens of a line, [CLS] and [SEP] counted; the rest is cut off");
  verb.add_option("--truncation", options->truncation,
                  "which text of a pair is cut: longest_first (default), only_first, only_second")
      ->check(CLI::IsMember({"longest_first", "only_first", "only_second"}));
  verb.callback([options] { options->run(); });
}

}  // namespace minima
