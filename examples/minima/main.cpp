/// The program `minima`. Exit codes: 0 done, 1 failed at run time, 2 bad usage or input.
#include "core/error.hpp"
#include "examples/minima/verbs.hpp"
#include "optim/options.hpp"

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
  for (int i = 1; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    const bool no_verb = verb == &app && i == 1;  // of which CLI11's message says nothing
    if ((message.find(word) == std::string::npos && !no_verb) || word == verb->get_name() ||
        std::ranges::count(names, word))
      continue;
    message += fmt::format("; did you mean {}?", minima::nearest(word, names));
    break;
  }
  return message + fmt::format(" (minima {}--help lists what there is)",
                               verb == &app ? "" : verb->get_name() + " ");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("minima: train small text classifiers and compare the optimizers that train them");
  app.require_subcommand(1);
  minima::add_compare(app);
  minima::add_train(app);
  minima::add_eval(app);
  minima::add_predict(app);
  minima::add_doctor(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "minima: {}\n", describe(app, error, argc, argv));
    return 2;
  } catch (const minima::Error& error) {
    fmt::print(stderr, "minima: {}\n", error.what());
    return error.fault == minima::Fault::input ? 2 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "minima: {}\n", error.what());
    return 1;
  }
}
