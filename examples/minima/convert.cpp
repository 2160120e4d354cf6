/// minima convert: a model's weights in another form (train/convert_weights.hpp).
#include "core/text/grouped.hpp"
#include "data/counted.hpp"
#include "examples/minima/run_folder.hpp"
#include "examples/minima/terminal.hpp"
#include "examples/minima/verbs.hpp"
#include "train/convert_weights.hpp"
#include "train/interrupt.hpp"

namespace minima {
namespace {

struct ConvertVerb {
  std::string from, to, dtype;
  ConvertOptions options;
  bool json = false;

  ConvertReport convert() const {
    const InterruptRequests ctrl_c;
    try {
      return convert_weights(from, to, options);
    } catch (const Error& error) {
      if (InterruptRequests::received()) die_of_interrupt(error.what());
      throw;
    }
  }

  void run() {
    if (!dtype.empty())
      options.dtype = dtype == "f32" ? DType::f32 : dtype == "bf16" ? DType::bf16 : DType::f16;
    const ConvertReport report = convert();
    if (json) return fmt::print("{}\n", report.to_json().dump());
    print_text("{}: {}, {}, {} bytes\n", report.weights.string(), counted(report.tensors, "tensor"),
               counted(report.elements, "value"), grouped(report.bytes));
    if (!report.left_out.empty()) print_text("left out: {}\n", fmt::join(report.left_out, ", "));
    if (!report.not_copied.empty())
      print_text("not copied: {}\n", fmt::join(report.not_copied, ", "));
    if (!report.replaced.empty())
      print_text("replaced: {}, which a conversion that was killed had left\n",
                 report.replaced.string());
    if (report.became_infinite > 0)
      print_note("minima: warning: {} became infinite\n", counted(report.became_infinite, "value"));
    if (report.became_zero > 0)
      print_note("minima: warning: {} became zero\n", counted(report.became_zero, "value"));
  }
};

}  // namespace

void add_convert(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "convert", "a model directory or file in another form: one file, other precision, no head");
  verb.footer(
      "Nothing is written over: what is there already is refused. All is made in TO.minima-part,\n"
      "which becomes TO when it is whole; where an error or Ctrl-C ends the work, nothing is "
      "left.\n"
      "Of a directory the weights, config.json and the tokenizer's files are taken.");
  const auto options = std::make_shared<ConvertVerb>();
  verb.add_option("from", options->from,
                  "model directory, .safetensors file, or .safetensors.index.json")
      ->required();
  verb.add_option("to", options->to,
                  "a new (or empty) folder, or a new file that ends with .safetensors")
      ->required();
  verb.add_option("--dtype", options->dtype,
                  "f32, bf16 or f16 (default: as it is); integers stay what they are")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  verb.add_flag("--encoder-only", options->options.encoder_only,
                "without head, names without 'bert.' or 'distilbert.'");
  verb.add_flag(
      "--allow-overflow", options->options.allow_overflow,
      "values too large become infinite and are counted, in weights that minima then refuses "
      "(default: an error)");
  verb.add_option(
      "--like", options->options.like,
      "the directory whose config.json and tokenizer a new folder gets (default: FROM's)");
  verb.add_flag("--json", options->json, "one JSON document on standard output, nothing else");
  verb.callback([options] { options->run(); });
}

}  // namespace minima
