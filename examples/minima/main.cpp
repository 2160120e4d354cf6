/// The program `minima`. Exit codes: 0 done, 1 failed at run time, 2 bad usage or input.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "core/error.hpp"
#include "core/text/nearest.hpp"
#include "core/text/utf8.hpp"
#include "core/version.hpp"
#include "examples/minima/configuration.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"

namespace {

/// What CLI11 says of wrong usage, and for an unknown option or verb the nearest one there is.
std::string describe(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::string message = error.what();
  const CLI::App* verb = &app;
  for (const CLI::App* chosen : app.get_subcommands()) verb = chosen;
  std::vector<std::string> names;
  for (const CLI::Option* option : verb->get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  if (verb == &app)
    for (const CLI::App* known : app.get_subcommands([](const CLI::App*) { return true; }))
      names.push_back(known->get_name());
  if (verb == &app && argc > 1 && argv[1][0] != '-')  // of which CLI11's message says nothing
    message = fmt::format("there is no verb '{}'{}", argv[1], minima::did_you_mean(argv[1], names));
  else if (verb == &app && dynamic_cast<const CLI::RequiredError*>(&error))
    message = "a verb comes first, such as compare, train or predict";
  constexpr std::string_view kOnce = ": At Most 1 required but received ";
  if (const std::size_t at = message.find(kOnce); at != std::string::npos)
    message = fmt::format("{} is given {} times; give it once", message.substr(0, at),
                          message.substr(at + kOnce.size()));
  // CLI11 says them in another order.
  const std::vector<std::string> extras = app.remaining(true);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) && !extras.empty()) {
    const std::string word = extras.front().substr(0, extras.front().find('='));
    message = fmt::format("not expected: {}", fmt::join(extras, " "));
    std::error_code none;
    const bool is_there = std::filesystem::exists(word, none);
    if (is_there && verb->get_name() == "tokenize")
      message += fmt::format(". Lines come by standard input: < {}", word);
    else if (is_there && std::ranges::count(names, "--data"))
      message += fmt::format(". Data are named by an option: --data {}", word);
    else
      message += minima::did_you_mean(word, names);
  }
  return message + fmt::format(" (minima {}--help lists what there is)",
                               verb == &app ? "" : verb->get_name() + " ");
}

/// "010" → "10": CLI11 takes a zero in front for the base 8.
std::string decimal(std::string number) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const std::size_t at = number.starts_with('-') || number.starts_with('+');
  while (at + 1 < number.size() && number[at] == '0' && digit(number[at + 1])) number.erase(at, 1);
  return number;
}

/// Refuses what CLI11 would bend (fault_of_number); it reads an empty text as 0, or as not given.
void refuse_bent_values(CLI::App& app) {
  for (CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    for (CLI::Option* option : verb->get_options()) {
      if (option->get_items_expected_max() == 0) continue;  // a flag
      const std::string type = option->get_type_name();
      if (type == "INT" || type == "UINT") option->transform(decimal);
      option->check([option](const std::string& text) -> std::string {
        if (text.empty()) return "is empty; leave it out or give a value";
        return minima::fault_of_number(*option, text);
      });
    }
}

/// Names what has a place and a name (model, --model) where it has its place; CLI11 would list it twice.
class Help : public CLI::Formatter {
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return option->get_positional() && !is_positional
               ? ""
               : CLI::Formatter::make_option(option, is_positional);
  }
};

void print_error(const std::string& message) { minima::print_note("minima: {}\n", message); }

}  // namespace

int main(int argc, char** argv) {
  minima::hold_closed_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file too large is a write that fails, and leaves nothing
  CLI::App app("minima: train small text classifiers and compare the optimizers that train them",
               "minima");
  app.formatter(std::make_shared<Help>());  // of the verbs too, which are added later
  app.set_version_flag("--version", fmt::format("minima {}", minima::version()));
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  minima::add_compare(app);
  minima::add_train(app);
  minima::add_pretrain(app);
  minima::add_eval(app);
  minima::add_predict(app);
  minima::add_tokenize(app);
  minima::add_data(app);
  minima::add_report(app);
  minima::add_memory(app);
  minima::add_inspect(app);
  minima::add_optimizers(app);
  minima::add_explain(app);
  minima::add_convert(app);
  minima::add_doctor(app);
  for (CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    verb->group("Verbs");
  refuse_bent_values(app);
  try {
    for (int i = 1; i < argc; ++i)  // they are written into records, which are UTF-8
      minima::check(minima::find_invalid_utf8(argv[i]) == std::string::npos,
                    "argument {} of the command line is not valid UTF-8", i);
    std::vector<std::string> words =
        minima::with_configuration(app, std::vector<std::string>(argv + 1, argv + argc));
    std::ranges::reverse(words);  // as CLI11 wants them
    int code = 0;
    try {
      app.parse(std::move(words));
    } catch (const CLI::Success& help) {
      code = app.exit(help);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      minima::fail_at_run_time("standard output cannot be written: {}", std::strerror(errno));
    return code;
  } catch (const CLI::ParseError& error) {
    print_error(describe(app, error, argc, argv));
    return 2;
  } catch (const minima::Error& error) {
    const auto trains = [&] {
      return std::ranges::any_of(app.get_subcommands(), [](const CLI::App* verb) {
        return verb->get_option_no_throw("--checkpoint-layers") != nullptr;
      });
    };
    const bool wants_less = error.fault == minima::Fault::memory && trains();
    print_error(
        error.what() +
        std::string(wants_less
                        ? ": --batch or --tokens, --max-length, --checkpoint-layers, "
                          "--update-in-backward (on the cpu), --round-tokens 0 (on a GPU), --state "
                          "block8, --precision bf16 (minima memory counts what each saves)"
                        : ""));
    return error.fault == minima::Fault::input ? 2 : 1;
  } catch (const std::filesystem::filesystem_error& error) {
    print_error(error.what());
    return 1;
  } catch (const std::system_error& error) {
    const bool of_print = std::string_view(error.what()).starts_with("cannot write to file");
    print_error(of_print ? "standard output cannot be written: " + error.code().message()
                         : error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    print_error("there is not enough memory, or a limit on it (ulimit -v)");
    return 1;
  } catch (const std::exception& error) {
    print_error(error.what());
    return 1;
  }
}
