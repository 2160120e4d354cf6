#include "examples/minima/configuration.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <set>

#include "core/files/file.hpp"
#include "core/text/for_shell.hpp"
#include "core/text/nearest.hpp"
#include "core/text/utf8.hpp"
#include "examples/minima/terminal.hpp"
#include "train/checkpoint.hpp"
#include "train/task.hpp"

namespace minima {
namespace {

/// No keys of a file; and with "json" and "out" not part of what a run is.
const std::set<std::string> kNoKeys = {"help", "config", "resume"},
                            kLeftOut = {"help", "config", "resume", "json", "out"};

/// Whether it may be another when a run is resumed. A comparison's runs are timed on one device.
bool is_free_here(const CLI::App& verb, const std::string& name) {
  return kLeftOut.contains(name) || name == "threads" || is_free(name) ||
         (name == "device" && verb.get_name() != "compare");
}

std::vector<std::string> names_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options())
    for (const std::string& name : option->get_lnames())
      if (!kNoKeys.contains(name)) names.push_back(name);
  return names;
}

/// "--name" or "--name=…": the name; else nothing.
std::string option_name(const std::string& word) {
  return word.starts_with("--") ? word.substr(2, word.find('=') - 2) : "";
}

/// The value of --name in `words`; none where it is not there.
std::optional<std::string> value_of(const std::vector<std::string>& words,
                                    const std::string& name) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (option_name(words[i]) != name) continue;
    if (const std::size_t at = words[i].find('='); at != std::string::npos)
      return words[i].substr(at + 1);
    return i + 1 < words.size() && !words[i + 1].starts_with("--") ? words[i + 1] : "";
  }
  return {};
}

/// Whether the words have an option that says the same as `name` in another way: it stands over the file's.
bool gives_other(const std::vector<std::string>& words, const std::string& name) {
  constexpr std::pair<const char*, const char*> kEither[] = {
      {"epochs", "steps"}, {"batch", "tokens"}, {"cased", "uncased"}, {"vocabulary", "vocab"}};
  return std::ranges::any_of(kEither, [&](const auto& pair) {
    return (name == pair.first && value_of(words, pair.second)) ||
           (name == pair.second && value_of(words, pair.first));
  });
}

/// The JSON in a file, its numbers as strings, as they are written: so they are read as those of the command line are.
/// The JSON library would make 0 of 1e-400, and 10.0 of 1e1.
Json read_as_written(const std::string& source) {
  const std::string text = read_file(source);
  parse_json(text, source);  // refuses what is no JSON, and no number
  std::string quoted;
  bool in_string = false;
  for (std::size_t at = 0, length; at < text.size(); at += length) {
    length = 1;
    if (in_string && text[at] == '\\') length = 2;
    if (text[at] == '"') in_string = !in_string;
    const bool number = !in_string && (text[at] == '-' || (text[at] >= '0' && text[at] <= '9'));
    if (number) length = text.find_first_not_of("+-.0123456789Ee", at) - at;
    quoted += (number ? "\"" : "") + text.substr(at, length) + (number ? "\"" : "");
  }
  return parse_json(quoted, source);
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The words for one entry of the file.
std::vector<std::string> words_for(const CLI::Option& option, const std::string& name,
                                   const Json& value, const std::string& source) {
  if (value.is_null()) return {};
  const bool flag = option.get_items_expected_max() == 0;
  check(flag == value.is_boolean(), "{}: '{}' is {}; it must be {}", source, name, value.dump(),
        flag ? "true or false" : "a number, a word, or a list of these");
  if (flag)
    return value.get<bool>() ? std::vector<std::string>{"--" + name} : std::vector<std::string>{};
  std::vector<std::string> words;
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    check(one.is_number() || one.is_string(),
          "{}: '{}' is {}; it must be a number, a word, or a list of these", source, name,
          value.dump());
    check(one != "", "{}: '{}' is empty; leave it out", source, name);
    const std::string fault = fault_of_number(option, text_of(one));
    check(fault.empty(), "{}: '{}': {}", source, name, fault);
    words.push_back("--" + name + "=" + text_of(one));
  }
  return words;
}

template <class T>
std::optional<T> number(const std::string& text) {
  T value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && rest == text.data() + text.size() ? std::optional(value)
                                                                   : std::nullopt;
}

bool same(const std::string& a, const std::string& b) {
  if (number<u64>(a) && number<u64>(b)) return number<u64>(a) == number<u64>(b);
  return a == b || (number<double>(a) && number<double>(a) == number<double>(b));
}

/// Whether an option names a file or a folder.
bool is_path(const std::string& name, const std::string& value) {
  return (name == "data" && !is_source(value)) || (name == "model" && !is_preset(value)) ||
         name == "vocab" || name == "dev" || name == "test";
}

/// It is written into records, which are UTF-8.
std::string with_whole_path(const std::string& name, const std::string& value) {
  if (!is_path(name, value) || !is_there(value)) return value;
  const std::string whole = std::filesystem::absolute(value).lexically_normal().string();
  check(find_invalid_utf8(whole) == std::string::npos,
        "--{} is {}, a path that is not valid UTF-8; give a folder above it another name", name,
        shown(whole));
  return whole;
}

/// The other verb that has all of these options, where `verb` has not; else empty.
std::string verb_with(const CLI::App& app, const CLI::App& verb, const Json& arguments) {
  const auto has_all = [&](const CLI::App* any) {
    const std::vector<std::string> names = names_of(*any);
    bool all = true;
    for (const auto& [name, value] : arguments.items()) all &= std::ranges::count(names, name) == 1;
    return all;
  };
  if (has_all(&verb)) return "";
  const std::vector<const CLI::App*> others = app.get_subcommands(has_all);
  return others.empty() ? "" : others.front()->get_name();
}

}  // namespace

std::string fault_of_number(const CLI::Option& option, const std::string& text) {
  const std::string type = option.get_type_name();
  const bool whole = type == "INT" || type == "UINT";
  if (text.empty() || (!whole && type != "FLOAT")) return "";
  errno = 0;
  char* end = nullptr;
  bool bent = false;
  if (whole) {
    if (type == "INT")
      std::strtoll(text.c_str(), &end, 10);
    else
      std::strtoull(text.c_str(), &end, 10);
    bent = errno == ERANGE || (type == "UINT" && text.starts_with('-'));
  } else {
    const double x = std::strtod(text.c_str(), &end);
    bent = errno == ERANGE && (x == 0 || std::isinf(x));
  }
  if (*end != '\0' || std::isspace(static_cast<unsigned char>(text[0])))
    return fmt::format("'{}' is no {}", shown(text), whole ? "whole number" : "number");
  return bent ? fmt::format("{} is out of range", text) : "";
}

std::vector<std::string> with_configuration(const CLI::App& app, std::vector<std::string> words) {
  const CLI::App* verb = nullptr;
  for (const CLI::App* known : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!words.empty() && known->get_name() == words[0]) verb = known;
  if (verb == nullptr) return words;
  const auto config = value_of(words, "config"), resumed = value_of(words, "resume");
  const auto known = [&](const char* option) {
    return verb->get_option_no_throw(std::string("--") + option) != nullptr;
  };
  const bool resumes = resumed && known("resume");
  if (!resumes && !(config && known("config"))) return words;
  check(!(resumes && config),
        "--resume and --config exclude one another: a resumed run keeps the options it has");
  check(!(resumes && value_of(words, "out")),
        "--resume and --out exclude one another: a resumed run goes on in its folder");
  check(!(resumes ? resumed : config)->empty(), "--{} names no {}", resumes ? "resume" : "config",
        resumes ? "folder of a run" : "file");

  const std::string source = resumes ? *resumed + "/run.json" : *config;
  Json file;
  if (resumes) {
    file = read_run(*resumed, [](const std::string& text) { print_note("{}\n", text); });
    file = Json(file["arguments"]);
    check(file.is_object(),
          "{}: keeps no options: its run is one of a comparison; go on with that: minima compare "
          "--resume {}",
          source,
          for_shell(std::filesystem::absolute(*resumed).lexically_normal().parent_path().string()));
    const std::string other = verb_with(app, *verb, file);
    check(other.empty(),
          "{0}: is a folder of minima {1}, not of minima {2}; go on with: minima {1} --resume {3}",
          *resumed, other, verb->get_name(), for_shell(*resumed));
  } else {
    file = read_as_written(source);
    if (file.is_object() && file.contains("arguments"))  // a run.json
      file = Json(file["arguments"]);
    check(file.is_object(), "{}: is no JSON object of options by name", source);
    const std::string other = verb_with(app, *verb, file);
    check(other.empty(),
          "{}: has options of minima {}, not of minima {}; keep those that both have", source,
          other, verb->get_name());
  }
  std::vector<std::string> added;
  for (const auto& [name, value] : file.items()) {
    const std::vector<std::string> names = names_of(*verb);
    check(std::ranges::count(names, name) == 1, "{}: no option '{}'{}", source, name,
          did_you_mean(name, names));
    const auto own = value_of(words, name);
    const std::string kept = text_of(value);
    const bool is_gone = resumes && is_path(name, kept) && !is_there(kept);
    check(!is_gone || own,
          "{0}: --{1} is {2}, which is not there; put it back, name where it is now (--{1}), or "
          "resume where the run was started if that is a relative path",
          source, name, kept);
    // What has moved is named anew; the checkpoint knows whether the texts are the same.
    if (own && resumes && !is_free_here(*verb, name) && !is_gone)
      check(value.is_boolean() ? value.get<bool>()
                               : same(with_whole_path(name, *own), with_whole_path(name, kept)),
            "--{} is {} here, {} in {}; a resumed run keeps its options", name,
            own->empty() ? "true" : *own, kept, source);
    const CLI::Option& option = *verb->get_option("--" + name);
    std::vector<std::string> of_file = words_for(option, name, value, source);
    // A run's record has every option, also those by default, which are refused beside some others where they are given.
    const bool is_default = same(kept, option.get_default_str());
    if (own || is_default || (!resumes && gives_other(words, name))) continue;
    std::ranges::move(of_file, std::back_inserter(added));
  }
  if (resumes)
    for (const std::string& word : words)
      if (const std::string name = option_name(word); !name.empty() && !is_free_here(*verb, name))
        check(file.contains(name) || std::ranges::count(names_of(*verb), name) == 0,
              "--{}: the run in {} was started without it; a resumed run keeps its options", name,
              *resumed);
  words.insert(words.begin() + 1, added.begin(), added.end());
  return words;
}

Json arguments_of(const CLI::App& verb) {
  Json arguments = Json::object();
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_lnames().empty() || kLeftOut.contains(option->get_lnames()[0])) continue;
    const std::string& name = option->get_lnames()[0];
    if (option->get_items_expected_max() == 0) {
      arguments[name] = option->count() > 0;
    } else if (option->count() > 0) {
      std::vector<std::string> values = option->reduced_results();
      for (std::string& value : values) value = with_whole_path(name, value);
      arguments[name] = values.size() == 1 ? Json(values[0]) : Json(values);
    } else if (const std::string standard = option->get_default_str(); !standard.empty()) {
      arguments[name] = standard;
    }
  }
  return arguments;
}

std::string changed_options(const CLI::App& verb) {
  std::string text;
  const Json arguments = arguments_of(verb);
  for (const auto& [name, value] : arguments.items()) {
    const CLI::Option& option = *verb.get_option("--" + name);
    if (!value.is_boolean() && same(text_of(value), option.get_default_str())) continue;
    for (const std::string& word : words_for(option, name, value, "options"))
      text += (text.empty() ? "" : " ") + for_shell(word);
  }
  return text;
}

}  // namespace minima
