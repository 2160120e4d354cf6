#include "core/folder.hpp"

#include "core/error.hpp"
#include "core/file.hpp"
#include "tests/data/files.hpp"
#include "tests/support.hpp"

using namespace minima;

TEST_CASE("a folder is replaced whole, and stays as it was where filling it fails") {
  const test::Folder home;
  const std::filesystem::path folder = std::filesystem::path(home.path()) / "deep" / "model";
  const auto write = [&](const char* name, const char* bytes, bool fails = false) {
    write_folder(folder, [&](const std::filesystem::path& part) {
      CHECK(std::filesystem::is_empty(part));
      write_file(part / name, bytes);
      if (fails) fail("no more");
    });
  };
  const auto only = [&](const std::string& name, const std::string& bytes) {
    CHECK(read_file(folder / name) == bytes);
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.parent_path()), {}) == 1);
  };
  write("a", "1");
  only("a", "1");
  write("b", "2");
  only("b", "2");
  CHECK(test::error_of([&] { write("c", "3", true); }) == "no more");
  only("b", "2");
  // What a kill left of an earlier try.
  std::filesystem::create_directory(folder.string() + ".part");
  write_file(folder.string() + ".part/half", "x");
  std::filesystem::rename(folder, folder.string() + ".replaced");
  write("d", "4");
  only("d", "4");
}
