/// Options from a file: --config FILE, a JSON object whose keys are the long options of the verb, or a
/// run.json, which has one, and --resume RUN, which begins with those that RUN/run.json keeps.
#pragma once

#include <CLI/CLI.hpp>

#include "core/files/json.hpp"

namespace minima {

/// The command line with the options of the file that --config or --resume names put in front of its own, which
/// stand over them. Throws Error for an unknown key, naming the nearest, a value that is no number, word, truth value
/// or list of these, and for an option beside --resume that is other than the run's and would change it.
std::vector<std::string> with_configuration(const CLI::App& app, std::vector<std::string> words);

/// What is wrong with the text of a number for an option: it is none, or CLI11 would bend it, which makes of a whole number too large the
/// largest there is, of −1 the number 2⁶⁴ − 1 where no sign is taken, and of 1e-400 zero. Empty where nothing is, and for
/// an option that takes words.
std::string fault_of_number(const CLI::Option& option, const std::string& text);

/// Every option of a verb by its name, given or by default; those that only say where and how are left out. Files and folders
/// have their whole paths: a run can be resumed from any folder.
Json arguments_of(const CLI::App& verb);

/// Those that are not the default, as they are written: "--epochs=3 --model=tiny".
std::string changed_options(const CLI::App& verb);

}  // namespace minima
