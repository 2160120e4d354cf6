#include "examples/minima/configuration.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "optim/options.hpp"

namespace minima {
namespace {

/// No keys of a file; and with "json" and "out" not part of what a run is.
const std::set<std::string> kNoKeys = {"help", "config", "resume"},
                            kLeftOut = {"help", "config", "resume", "json", "out"};
/// May be others when a run is resumed: they change no bit of it.
const std::set<std::string> kFree = {"help",    "config",  "resume",     "json", "out",
                                     "threads", "minutes", "save-every", "keep"};

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
    words.push_back("--" + name + "=" + text_of(one));
  }
  return words;
}

bool same(const std::string& a, const std::string& b) {
  double x = 0, y = 0;
  const auto number = [](const std::string& text, double& value) {
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && rest == text.data() + text.size();
  };
  return a == b || (number(a, x) && number(b, y) && x == y);
}

}  // namespace

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
  Json file = read_json(source);
  if (resumes) {
    check(file.is_object() && file.contains("arguments") && file["arguments"].is_object(),
          "{}: was not written by minima train or compare: it has no \"arguments\"", source);
    file = file["arguments"];
  }
  check(file.is_object(), "{}: is no JSON object of options by name", source);
  std::vector<std::string> added;
  for (const auto& [name, value] : file.items()) {
    const std::vector<std::string> names = names_of(*verb);
    check(std::ranges::count(names, name) == 1, "{}: no option '{}'; did you mean '{}'?", source,
          name, nearest(name, names));
    const auto own = value_of(words, name);
    if (own && resumes && !kFree.contains(name))
      check(value.is_boolean() ? value.get<bool>() : same(*own, text_of(value)),
            "--{} is {} here, {} in {}; a resumed run keeps its options", name,
            own->empty() ? "true" : *own, text_of(value), source);
    if (own) continue;
    for (std::string& word : words_for(*verb->get_option("--" + name), name, value, source))
      added.push_back(std::move(word));
  }
  if (resumes)
    for (const std::string& word : words)
      if (const std::string name = option_name(word); !name.empty() && !kFree.contains(name))
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
      const std::vector<std::string> values = option->reduced_results();
      arguments[name] = values.size() == 1 ? Json(values[0]) : Json(values);
    } else if (const std::string standard = option->get_default_str(); !standard.empty()) {
      arguments[name] = standard;
    }
  }
  return arguments;
}

}  // namespace minima
