/// The verbs of the program `minima`: each file of this folder adds one to the command line.
#pragma once

#include <CLI/CLI.hpp>

namespace minima {

void add_compare(CLI::App& app);
void add_train(CLI::App& app);
void add_pretrain(CLI::App& app);
void add_eval(CLI::App& app);
void add_predict(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_data(CLI::App& app);
void add_report(CLI::App& app);
void add_memory(CLI::App& app);
void add_inspect(CLI::App& app);
void add_optimizers(CLI::App& app);
void add_explain(CLI::App& app);
void add_convert(CLI::App& app);
void add_doctor(CLI::App& app);

}  // namespace minima
