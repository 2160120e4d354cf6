/// minima memory.
#include <fmt/format.h>

#include <map>

#include "core/files/json.hpp"
#include "core/text/grouped.hpp"
#include "tests/cli/shell.hpp"
#include "tests/support.hpp"

using namespace minima;
using namespace minima::test;

TEST_CASE("memory answers from sizes alone, and its measurement agrees") {
  const Shell shell;
  const Json json = json_of(shell, "memory --json");
  CHECK(json["parameters"] == 65'783'042);
  CHECK(json["tensors"] == 104);
  std::map<std::string, Json> optimizers;
  for (const Json& optimizer : json["optimizers"])
    optimizers[optimizer["name"].get<std::string>()] = optimizer;
  CHECK(optimizers["adamw"]["state_elements"] == 131'566'188);
  CHECK(optimizers["adamw"]["state_bytes"] == 526'264'752);
  CHECK(optimizers["adafactor"]["state_elements"] == 178'712);
  CHECK(optimizers["adamw8bit"]["scales"] == 513'432);
  CHECK(optimizers["came"]["state_elements"] == 66'078'048);
  CHECK(optimizers["adapm"]["momentum_saving"] >= 0.9);
  CHECK(optimizers["adapm:factored=true"]["state_saving"] >= 0.95);
  CHECK(optimizers["adamw8bit"]["state_saving"] >= 0.74);
  CHECK(optimizers.contains("came:state=block8"));
  for (const auto& [name, of] : optimizers) {
    CAPTURE(name);
    i64 elements = 0;
    for (const auto& [slot, count] : of["slots"].items()) elements += count.get<i64>();
    CHECK(of["state_elements"] == elements);
    CHECK(of["sum_bytes"] == json["parameter_bytes"].get<i64>() +
                                 json["gradient_bytes"].get<i64>() + of["state_bytes"].get<i64>() +
                                 json["activation_bytes"].get<i64>());
  }
  CHECK(json["batch"]["texts"] == 32);
  CHECK(json["batch"]["tokens"] == 32 * 128);
  CHECK(json["batch"]["length"] == 128);
  // The README's.
  const std::string readme = shell.minima("memory --optimizers adamw,adafactor").out;
  for (const char* line :
       {"distilbert-base-cased: 65,783,042 parameters in 104 tensors: dim 768, layers 6, heads 12, "
        "hidden 3072, vocabulary 28,996, positions 512, labels 2\n"
        "batch: texts 32, tokens 4,096, the longest text 128; products in fp32; MB = 2^20 bytes\n",
        "\n  blocks 0 to 4, each           144.2  queries 12.0, keys 12.0, values 12.0, context "
        "12.0, first norm 12.0, first sum 12.0, lin1 48.0, output 12.0, second sum 12.0, the rest "
        "0.2\n",
        "\n  all                           770.5  (the logits among them: 256 bytes)\n",
        "\noptimizer     state elements  block scales momentum % |    weights  gradients      "
        "state "
        "activations        sum       peak  fits into\n"
        "adamw            131,566,188             0      100.0 |      250.9      176.9      501.9 "
        "      770.5     1700.3     1594.2  4 GB\n"
        "adafactor            178,712             0        0.0 |      250.9      176.9        0.7 "
        "      770.5     1199.1     1093.0  4 GB\n",
        "(dense: 250.9 MB)", "training keeps: 250.9 MB more", "hold up to 32.0 MB more"}) {
    CAPTURE(line);
    CHECK(contains(readme, line));
  }
  CHECK(contains(shell.minima("memory --scale 100b --optimizers adamw").out, "  over 192 GB\n"));
  const std::string other =
      "memory --model tiny --hidden 100 --positions 64 --labels 7 --vocabulary 500 --batch 3 "
      "--freeze embeddings,layer.0 --checkpoint-layers --optimizers adamw";
  CHECK(contains(shell.minima(other).out,
                 "hidden 100, vocabulary 500, positions 64, labels 7\n"
                 "batch: texts 3, tokens 192, the longest text 64;"));
  const Json frozen = json_of(shell, other + " --json");
  CHECK(frozen["trained_parameters"] == frozen["optimizers"][0]["momentum_elements"]);
  CHECK(frozen["trained_parameters"] < frozen["parameters"]);
  CHECK(frozen["checkpoint_layers"] == true);
  // What fits is the peak with the best weights, which training keeps.
  const double peak = optimizers["adamw"]["peak_bytes"].get<double>();
  const double held = peak + json["parameter_bytes"].get<double>();
  const auto fits = [&](double bytes) {
    const Answer asked =
        shell.minima(fmt::format("memory --json --optimizers adamw --fits {}", bytes / (1 << 30)));
    return parse_json(asked.out, "memory --fits")["optimizers"][0]["fits"].get<std::string>();
  };
  CHECK(fits(held + 1e6) == "yes");
  CHECK(fits(held - 1e6) == "no");

  for (const auto& [sgd, note] : {std::pair("sgd", true), std::pair("sgd:momentum=0", false)}) {
    const Answer answer = shell.minima("memory --model tiny --optimizers " + std::string(sgd));
    CAPTURE(sgd);
    CHECK((answer.err.find("take sgd as sgd:lr=0.1:momentum=0.9, whose state is") !=
           std::string::npos) == note);
  }

  const Answer scale = shell.minima("memory --scale 7b --optimizers adamw,adamw8bit --fits 100");
  CHECK(scale.code == 0);
  for (const char* part :
       {"7,001,230,082 parameters", "14,002,460,700", "yes", "no", "code maps, 0.5 MB in all"})
    CHECK(scale.out.find(part) != std::string::npos);
  const Json measurement = json_of(
      shell,
      "memory --measure --json --model tiny --vocabulary 500 --batch 16 --length 20 --threads 1");
  for (const Json& optimizer : measurement["optimizers"])
    for (const char* bytes : {"state_bytes", "peak_bytes"})
      CHECK(optimizer[bytes] == optimizer["measured"][bytes]);
  CHECK(measurement["gpu_scratch_bytes"] == 32 << 20);
  const Json& measured = measurement["optimizers"][0]["measured"];
  const Answer lines = shell.minima(
      "memory --measure --model tiny --vocabulary 500 --batch 16 --length 20 --threads 1 "
      "--optimizers " +
      measurement["optimizers"][0]["name"].get<std::string>());
  for (const auto& [name, key] : {std::pair{"weights", "parameter_bytes"},
                                  {"state", "state_bytes"},
                                  {"activations", "activation_bytes"},
                                  {"gradients", "gradient_bytes"},
                                  {"peak of a step", "peak_bytes"}}) {
    const std::string bytes = grouped(measured[key].get<i64>());
    CHECK(lines.out.find(fmt::format("\n  {:<18} {:>15} {:>15}  equal\n", name, bytes, bytes)) !=
          std::string::npos);
  }
  const Json halved = json_of(
      shell,
      "memory --measure --json --precision bf16 --model tiny --vocabulary 500 --batch 16 --length "
      "20 "
      "--threads 1 --optimizers adamw");
  CHECK(halved["activation_bytes"] < measurement["activation_bytes"]);
  CHECK(halved["optimizers"][0]["peak_bytes"] == halved["optimizers"][0]["measured"]["peak_bytes"]);
  const Json fewer = json_of(
      shell,
      "memory --measure --json --update-in-backward --model tiny --dim 256 --batch 1 --length 4 "
      "--optimizers adafactor --threads 1");
  CHECK(fewer["gradient_bytes"] < 3 << 20);
  CHECK(fewer["gradient_bytes"] == fewer["optimizers"][0]["measured"]["gradient_bytes"]);
  const Answer too_large =
      shell.minima("memory --measure --dim 16384 --heads 64 --layers 64 --optimizers adamw");
  CHECK(too_large.code == 1);
  CHECK(too_large.err.starts_with("minima: memory: --measure holds "));
  const Json several = json_of(
      shell,
      "memory --measure --json --accumulate 3 --model tiny --vocabulary 500 --batch 16 --length 20 "
      "--threads 1 --optimizers adamw");
  CHECK(several["accumulate"] == 3);
  CHECK(several["gradient_bytes"] > measurement["gradient_bytes"]);
  for (const char* bytes : {"gradient_bytes", "activation_bytes"})
    CHECK(several[bytes] == several["optimizers"][0]["measured"][bytes]);
  CHECK(several["optimizers"][0]["peak_bytes"] ==
        several["optimizers"][0]["measured"]["peak_bytes"]);
  const std::string told = shell.minima("memory --model tiny --accumulate 3").out;
  for (const char* part : {"the longest text 128; 3 batches a step; products in fp32",
                           "the rows that the batches look up",
                           "while gradients come, beside those of the batches before\n"})
    CHECK(contains(told, part));
  const Answer small = shell.minima(
      "memory --model tiny --dim 16 --hidden 16 --vocabulary 500 --length 16 --optimizers "
      "adafactor");
  CHECK(small.out.find("KB = 2^10 bytes") != std::string::npos);
  CHECK(small.out.find(" 0.0 ") == small.out.rfind(" 0.0 "));  // one: its share of momentum
  const Answer table = shell.minima("memory --model tiny --state-table adamw8bit");
  CHECK(table.out.find("under 4096 elements") != std::string::npos);
  const Json tiny = json_of(shell, "memory --model tiny --optimizers adamw8bit --json");
  CHECK(table.out.ends_with(fmt::format("total: {} elements, {} scales, {} bytes\n",
                                        tiny["optimizers"][0]["state_elements"].get<i64>(),
                                        tiny["optimizers"][0]["scales"].get<i64>(),
                                        tiny["optimizers"][0]["state_bytes"].get<i64>())));
}

TEST_CASE("memory refuses what it cannot count, in one line") {
  const Shell shell;
  const auto config = [&](const std::string& name, const std::string& sizes) {
    shell.write(name,
                "{\"model_type\": \"distilbert\", \"vocab_size\": 500, "
                "\"max_position_embeddings\": 64, \"hidden_dim\": 64, " +
                    sizes + "}");
  };
  config("good.json", "\"dim\": 32, \"n_heads\": 2, \"n_layers\": 1");
  config("deep.json", "\"dim\": 32, \"n_heads\": 2, \"n_layers\": 5000");
  config("wide.json", "\"dim\": 99999999999, \"n_heads\": 2, \"n_layers\": 1");
  config("heads.json", "\"dim\": 32, \"n_heads\": 5, \"n_layers\": 1");
  config("twice.json", "\"dim\": 32, \"dim\": 32, \"n_heads\": 2, \"n_layers\": 1");
  shell.write("gpt.json", "{\"model_type\": \"gpt2\", \"hidden_size\": 768}");
  shell.write("bert.json", "{\"model_type\": \"bert\", \"vocab_size\": 768}");
  std::filesystem::create_directory(shell.folder / "empty");
  CHECK(shell.minima("memory --model good.json --length 9").code == 0);
  const auto refused = [&](const std::string& arguments, const std::vector<std::string>& words) {
    check_refused(shell, "memory " + arguments, words, "");
  };
  refused("--model smal", {"smal", "small"});
  refused("--model missing.json", {"missing.json"});
  refused("--model empty", {"empty/config.json"});
  refused("--model gpt.json", {"gpt.json", "'gpt2'", "'distilbert'", "'bert'", "--scale 7b"});
  refused("--model bert.json", {"bert.json", "'max_position_embeddings'"});
  refused("--model deep.json", {"deep.json", "'n_layers'", "5000", "1000"});
  refused("--model wide.json", {"wide.json", "'dim'", "99999999999", "2147483648"});
  refused("--model heads.json", {"heads.json", "5 heads", "32"});
  refused("--model twice.json", {"twice.json", "'dim'", "twice"});
  refused("--dim 0", {"--dim is 0"});
  refused("--update-in-backward --precision fp16", {"update-in-backward", "fp16", "bf16"});
  refused("--precision tf32 --measure", {"tf32", "fp32"});
  refused("--dim 1000000", {"--dim is 1000000", "65536"});
  refused("--vocabulary 1", {"--vocabulary is 1"});
  refused("--labels -3", {"--labels is -3"});
  refused("--heads 7", {"7 heads", "768"});
  refused("--batch 0", {"--batch is 0"});
  refused("--batch 2 --tokens 100", {"--batch", "--tokens"});
  refused("--batch 1000000 --length 512", {"512000000", "16777216"});
  refused("--tokens 64 --length 128", {"--length is 128", "--tokens 64"});
  refused("--length 513", {"513", "512", "--positions"});
  refused("--optimizers adamww", {"adamww", "'adamw'"});
  refused("--optimizers adamw:lrr=1", {"lrr", "lr"});
  refused("--optimizers adamw,adamw", {"adamw", "twice"});
  refused("--optimizers adafactor:lr=1", {"relative_step"});
  refused("--scale 7x", {"7x", "7b"});
  refused("--scale 1e40", {"1e40", "10t"});
  refused("--scale 7b --dim 64", {"--scale", "--dim"});
  refused("--scale 7b --model tiny", {"--scale", "--model"});
  refused("--scale 7b --measure", {"--scale", "--measure"});
  refused("--precision int8", {"--precision", "int8", "bf16"});
  refused("--fits 0", {"--fits"});
  refused("--fits inf", {"--fits is inf"});
  refused("--state-table adamz", {"adamz", "adam"});
  refused("--state-table adamw --measure", {"--state-table", "--measure"});
  refused("--mesure", {"--mesure", "--measure"});
}
