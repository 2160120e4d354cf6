/// Event files: what a training writes into them, and that tensorboard itself reads it.
#include "train/tensorboard.hpp"

#include <cstdlib>
#include <cstring>

#include "core/files/file.hpp"
#include "core/files/json.hpp"
#include "tests/support.hpp"
#include "tests/train/line.hpp"
#include "tests/train/small_task.hpp"

using namespace minima;

TEST_CASE("CRC-32C of known strings") {  // RFC 3720, B.4
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("a training's event file has the numbers of its steps and evaluations") {
  const test::RunFolder folder;
  test::Line line;
  const TrainingResult result =
      Trainer(line.objective(), "sgd:lr=0.02", test::line_options(), folder.path).run();
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path))
    if (entry.path().filename().string().starts_with("events.")) events = read_file(entry.path());
  const auto first = [&](const std::string& tag) {  // after the tag a key, then the number
    const std::size_t at = events.find(tag);
    REQUIRE(at != std::string::npos);
    float value = 0;
    std::memcpy(&value, events.data() + at + tag.size() + 1, sizeof(value));
    return value;
  };
  const StepRecord& step = result.steps.front();
  CHECK(first("train/loss") == static_cast<float>(step.loss));
  CHECK(first("train/lr_factor") == static_cast<float>(step.lr_factor));
  CHECK(first("train/grad_norm") == static_cast<float>(step.grad_norm));
  CHECK(first("dev/loss") == static_cast<float>(result.evaluations.front().dev.loss));
}

TEST_SUITE("cli") {
  TEST_CASE("tensorboard reads what a training writes, also after it was resumed") {
    const char* chosen = std::getenv("MINIMA_PYTHON");
    const std::string python = chosen ? chosen : "python3";
    if (std::system((python + " -c 'import tensorboard' 2>/dev/null").c_str()) != 0) {
      fmt::print("skipped: {} has no tensorboard\n", python);
      return;
    }
    const test::RunFolder folder;
    std::filesystem::create_directories(folder.path);
    using Values = std::vector<std::pair<std::string, double>>;
    {
      TensorBoardLog log(folder.path, 1);
      for (i64 step = 1; step <= 300; ++step)
        log.write(step, Values{{"train/loss", 1.0 / step}, {"ümlaut", -2}});
    }
    {
      TensorBoardLog log(folder.path, 201);  // training went on after step 200
      for (i64 step = 201; step <= 250; ++step) log.write(step, Values{{"train/loss", 2}});
    }
    const std::string script =
        "import sys, json\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "a = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}); a.Reload()\n"
        "print(json.dumps({t: [(e.step, e.value) for e in a.Scalars(t)] for t in "
        "a.Tags()['scalars']}))\n";
    write_file(folder.path / "read.py", script);
    REQUIRE(std::system(fmt::format("cd '{0}' && {1} read.py . > out.json 2> err",
                                    folder.path.string(), python)
                            .c_str()) == 0);
    const Json read = read_json(folder.path / "out.json");
    REQUIRE(read.contains("train/loss"));
    CHECK(read["ümlaut"].size() == 200);
    const Json& loss = read["train/loss"];
    REQUIRE(loss.size() == 250);
    for (std::size_t i = 0; i < loss.size(); ++i) {
      const auto step = static_cast<double>(i + 1);
      CHECK(loss[i][0] == i + 1);
      CHECK(loss[i][1].get<double>() == doctest::Approx(i < 200 ? 1 / step : 2).epsilon(1e-6));
    }
  }
}
