#include "train/inspect.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/code_map.hpp"
#include "core/files/file.hpp"
#include "optim/factored.hpp"
#include "optim/storage/slot.hpp"
#include "train/checkpoint.hpp"

namespace minima {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

namespace fs = std::filesystem;

constexpr const char* kName = "optimizer.safetensors";

/// Where a model directory, a run's folder or a stopped run's newest whole checkpoint has the state.
std::optional<fs::path> state_in(const fs::path& folder) {
  for (const fs::path& file : {folder / kName, folder / "final" / kName})
    if (is_there(file)) return file;
  if (const auto checkpoint = newest_whole_checkpoint(folder)) return *checkpoint / kName;
  return {};
}

fs::path file_of(const fs::path& path) {
  if (!is_folder(path)) return path;
  if (const auto file = state_in(path)) return *file;
  const auto may_have_one = [](const fs::path& folder) {  // nothing of it is read
    return std::ranges::any_of(std::array{kName, "final", "checkpoints"},
                               [&](const char* name) { return is_there(folder / name); });
  };
  std::vector<std::string> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(path))
    if (may_have_one(entry)) folders.push_back(entry.path().string());
  std::ranges::sort(folders);
  check(folders.empty(), "{}: holds the folders of runs or checkpoints; name one of them: {}",
        path.string(), fmt::join(folders, ", "));
  fail("{}: has no optimizer.safetensors, neither there nor in final/ or a whole checkpoint",
       path.string());
}

/// The slot of one entry of "slots". `where` names file and key.
PlannedSlot parse_slot(const std::string& key, const Json& json, const std::string& where) {
  const std::size_t slash = key.rfind('/');
  check(slash != std::string::npos && json.is_object() && json.contains("storage") &&
            json["storage"].is_string() && json.contains("sign") && json["sign"].is_string() &&
            json.contains("block_size") && json["block_size"].is_number_integer(),
        "{}: damaged: it lacks a storage, a sign or a block size", where);
  PlannedSlot slot;
  slot.parameter = key.substr(0, slash);
  slot.slot = key.substr(slash + 1);
  const auto named = std::ranges::find(kStorageNames, json["storage"].get<std::string>());
  check(named != kStorageNames.end(), "{}: no storage is named '{}'; there are {}", where,
        json["storage"].get<std::string>(), fmt::join(kStorageNames, ", "));
  slot.storage = static_cast<Storage>(named - kStorageNames.begin());
  const std::string sign = json["sign"];
  check(sign == "any" || sign == "nonnegative", "{}: its sign is '{}'; any or nonnegative is known",
        where, sign);
  slot.sign = sign == "any" ? Sign::any : Sign::nonnegative;
  slot.block_size = json["block_size"];
  check(slot.storage != Storage::block8 ||
            (slot.block_size > 0 && slot.block_size <= kLongestStretch),
        "{}: blocks of {} values; at most {} are allowed", where, slot.block_size, kLongestStretch);
  return slot;
}

std::string values_key(const PlannedSlot& slot) {
  return slot.key() + (slot.storage == Storage::block8 ? ".codes" : "");
}
std::string absmax_key(const PlannedSlot& slot) { return slot.key() + ".absmax"; }

/// E[(x − value)²] of each code for x with equal chance anywhere between its borders, which are the
/// midpoints to its neighbours: ((hi − v)³ + (v − lo)³)/(3 (hi − lo)).
std::array<double, 256> expected_squares(const CodeMap& map) {
  std::array<double, 256> result;
  const double least = map.value[0] < 0 ? -1 : 0;
  for (std::size_t code = 0; code < 256; ++code) {
    const double v = map.value[code];
    const double lo = code == 0 ? least : (v + static_cast<double>(map.value[code - 1])) / 2;
    const double hi = code == 255 ? v : (v + static_cast<double>(map.value[code + 1])) / 2;
    result[code] = (std::pow(hi - v, 3) + std::pow(v - lo, 3)) / (3 * (hi - lo));
  }
  return result;
}

/// Of an even number of values the mean of the two in the middle.
double median_of(std::vector<float>& values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  const double upper = *middle;
  if (values.size() % 2 == 1) return upper;
  return (upper + static_cast<double>(*std::max_element(values.begin(), middle))) / 2;
}

class DifferenceSum {
 public:
  void add(double a, double b) {
    ++result_.count;
    if (!std::isfinite(a) || !std::isfinite(b)) {
      ++result_.non_finite;
      return;
    }
    const double error = std::abs(b - a), larger = std::max(std::abs(a), std::abs(b));
    result_.max_abs = std::fmax(result_.max_abs, error);
    result_.max_relative = std::fmax(result_.max_relative, larger > 0 ? error / larger : 0);
    result_.lost += a != 0 && b == 0;
    squares_ += error * error;
    aa_ += static_cast<long double>(a) * a;
    bb_ += static_cast<long double>(b) * b;
    ab_ += static_cast<long double>(a) * b;
    a_ += a;
    b_ += b;
  }
  Difference result() const {
    Difference d = result_;
    d.rms = std::sqrt(squares_ / static_cast<double>(d.count - d.non_finite));
    d.relative_rms = d.rms == 0 ? 0 : std::sqrt(squares_ / static_cast<double>(aa_));
    if (aa_ > 0 && bb_ > 0) {
      const long double one = aa_ * bb_, cosine = ab_ / std::sqrt(one);
      d.cosine = static_cast<double>(cosine);
      d.scaled_rms = static_cast<double>(std::sqrt(std::max(0.0L, (one - ab_ * ab_) / one)));
    }
    if (a_ != 0) d.scale = b_ / a_;
    return d;
  }

 private:
  Difference result_;
  double squares_ = 0, a_ = 0, b_ = 0;
  long double aa_ = 0, bb_ = 0, ab_ = 0;  // of nearly parallel numbers little is left
};

/// Of the slot of row means: that of the column means, and what the whole moment is called in the
/// state of an optimizer that keeps it.
struct FactorNames {
  std::string column;
  std::vector<std::string> full;
};
std::optional<FactorNames> factor_names(const std::string& row) {
  if (row == "row_var") return FactorNames{"col_var", {"variance", "exp_avg_sq"}};
  if (!row.ends_with("_row")) return {};
  const std::string stem = row.substr(0, row.size() - 4);
  FactorNames names{stem + "_col", {stem}};
  if (stem == "exp_avg_sq") names.full.push_back("variance");
  return names;
}

double mean(std::span<const float> values) {
  double sum = 0;
  for (float x : values) sum += x;
  return sum / static_cast<double>(values.size());
}
double spread(std::span<const float> values) {
  const auto [least, most] = std::ranges::minmax(values);
  return static_cast<double>(most) / static_cast<double>(least);
}

FactorUse factor_use(const StateFile& file, const PlannedSlot& row, const PlannedSlot& column,
                     const PlannedSlot* full, const StateFile* reference) {
  const std::string where = file.path.string() + ": '" + row.key() + "'";
  FactorUse use{row.parameter, row.slot, column.slot};
  const Shape &r = row.shape, &c = column.shape;
  check(r.rank() > 0 && c.rank() == r.rank(), "{} is {}, '{}' {}: no factors of one matrix", where,
        r, column.slot, c);
  // [..., n] and [..., m], or, as in torch, [..., n, 1] and [..., 1, m].
  const bool kept = r.rank() > 1 && r[-1] == 1 && c[-2] == 1;
  use.rows = kept ? r[-2] : r[-1];
  use.columns = c[-1];
  check(use.rows > 0 && use.columns > 0 && r.size() / use.rows == c.size() / use.columns,
        "{} is {}, '{}' {}: no factors of one matrix", where, r, column.slot, c);
  use.batch = r.size() / use.rows;

  Tensor R = file.values(row), C = file.values(column);
  use.mean_row = mean(R.span<float>());
  use.mean_column = mean(C.span<float>());
  use.row_spread = spread(R.span<float>());
  use.column_spread = spread(C.span<float>());
  Tensor V;
  if (full) {
    const Shape& v = full->shape;
    check(v.rank() >= 2 && v[-2] == use.rows && v[-1] == use.columns &&
              v.size() == r.size() * use.columns,
          "{} is {}, '{}' {}; '{}' in {} is {}: the moment of another matrix", where, r,
          column.slot, c, full->key(), reference->path.string(), v);
    use.full = full->slot;
    V = reference->values(*full);
  }
  DifferenceSum error;
  i64 at = 0;
  for_moment(R.data<float>(), C.data<float>(), MatrixShape({use.batch, use.rows, use.columns}),
             [&](double product) {
               use.min = std::fmin(use.min, product);
               use.max = std::fmax(use.max, product);
               if (full) error.add(V.data<float>()[at], product);
               ++at;
             });
  use.error = error.result();
  return use;
}

}  // namespace

StateFile::StateFile(const std::filesystem::path& given)
    : path(file_of(given)), saved(read_state(path)) {
  std::size_t held = 0;
  for (const auto& [key, json] : saved.options["slots"].items()) {
    const std::string where = fmt::format("{}: slot '{}'", path.string(), key);
    PlannedSlot slot = parse_slot(key, json, where);
    const auto tensor = [&](const std::string& name, DType dtype) -> const Tensor& {
      const auto found = saved.tensors.find(name);
      check(found != saved.tensors.end(), "{}: damaged: there is no tensor '{}'", where, name);
      check(found->second.dtype() == dtype, "{}: damaged: '{}' is {}, in {} it is {}", where, name,
            dtype_name(found->second.dtype()), storage_name(slot.storage), dtype_name(dtype));
      ++held;
      return found->second;
    };
    slot.shape = tensor(values_key(slot), dtype_in(slot.storage)).shape();
    if (slot.storage == Storage::block8) {
      const i64 scales = tensor(absmax_key(slot), DType::f32).size();
      check(scales == slot.scales(),
            "{}: damaged: {} block maxima; {} values in blocks of {} have {}", where, scales,
            slot.elements(), slot.block_size, slot.scales());
    }
    plan.slots.push_back(std::move(slot));
  }
  check(held == saved.tensors.size(), "{}: damaged: {} of its {} tensors belong to no slot",
        path.string(), saved.tensors.size() - held, saved.tensors.size());
}

const PlannedSlot* StateFile::find(const std::string& key) const {
  const auto found = std::ranges::find(plan.slots, key, &PlannedSlot::key);
  return found == plan.slots.end() ? nullptr : &*found;
}

StoredSlot StateFile::stored(const PlannedSlot& slot) const {
  StoredSlot stored{saved.tensors.at(values_key(slot))};
  if (slot.storage == Storage::block8) stored.absmax = saved.tensors.at(absmax_key(slot));
  return stored;
}

Tensor StateFile::values(const PlannedSlot& slot) const {
  const StoredSlot own = stored(slot);
  if (slot.storage == Storage::i32) return own.values.to(DType::f32);
  return read_slot(own.view(slot), slot.shape);
}

ValueStatistics statistics(const Tensor& values) {
  ValueStatistics s;
  s.count = values.size();
  double squares = 0;
  for (const float x : values.span<float>()) {
    if (!std::isfinite(x)) {
      ++s.non_finite;
      continue;
    }
    s.min = std::fmin(s.min, x);
    s.max = std::fmax(s.max, x);
    squares += static_cast<double>(x) * static_cast<double>(x);
    if (x == 0)
      ++s.zeros;
    else
      ++s.histogram[static_cast<int>(std::floor(2 * std::log10(std::abs(static_cast<double>(x)))))];
  }
  if (s.count > s.non_finite)
    s.rms = std::sqrt(squares / static_cast<double>(s.count - s.non_finite));
  return s;
}

CodeUse code_use(const StateFile& file, const PlannedSlot& slot) {
  check(slot.storage == Storage::block8, "inspect: '{}' is stored as {}; codes are block8's",
        slot.key(), storage_name(slot.storage));
  const StoredSlot stored = file.stored(slot);
  const SlotView view = stored.view(slot);
  const Tensor values = file.values(slot);
  const u8* const codes = static_cast<const u8*>(view.values);
  const std::array<double, 256> expected = expected_squares(*view.map);
  CodeUse use;
  double squares = 0, error_squares = 0;
  bool finite = false;  // a block
  for (i64 b = 0; b < slot.scales(); ++b) {
    CodeUse::Block block{b, b * slot.block_size,
                         std::min((b + 1) * slot.block_size, values.size())};
    block.absmax = view.absmax[b];
    std::vector<float> magnitudes;
    double block_squares = 0, block_errors = 0;
    for (i64 i = block.begin; i < block.end; ++i) {
      const float x = values.data<float>()[i];
      ++use.histogram[codes[i]];
      magnitudes.push_back(std::abs(x));
      block_squares += static_cast<double>(x) * static_cast<double>(x);
      block_errors += expected[codes[i]] * block.absmax * block.absmax;
    }
    if (!std::isfinite(block.absmax)) continue;
    finite = true;
    squares += block_squares;
    error_squares += block_errors;
    if (block.absmax == 0) continue;
    block.median = median_of(magnitudes);
    block.ratio = block.median > 0 ? block.absmax / block.median : kInfinity;
    block.expected_error = std::sqrt(block_errors / block_squares);
    if (std::pair(block.ratio, block.absmax) > std::pair(use.worst.ratio, use.worst.absmax))
      use.worst = block;
  }
  const double n = static_cast<double>(std::max<i64>(1, values.size()));
  use.used =
      static_cast<int>(std::ranges::count_if(use.histogram, [](i64 each) { return each > 0; }));
  const i64 lowest = slot.sign == Sign::any ? use.histogram[0] : 0;
  use.at_extremes = static_cast<double>(use.histogram[255] + lowest) / n;
  use.at_zero = static_cast<double>(use.histogram[view.map->zero]) / n;
  use.expected_error = squares > 0 ? std::sqrt(error_squares / squares) : finite ? 0 : NAN;
  return use;
}

Difference difference(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "inspect: shapes differ: a is {}, b is {}", a.shape(), b.shape());
  DifferenceSum sum;
  for (i64 i = 0; i < a.size(); ++i) sum.add(a.data<float>()[i], b.data<float>()[i]);
  return sum.result();
}

Tensor rounded(const PlannedSlot& slot, const Tensor& values) {
  if (slot.storage == Storage::fp32) return values;
  const StoredSlot stored = StoredSlot::make(slot);
  write_slot(stored.view(slot), values);
  return read_slot(stored.view(slot), slot.shape);
}

std::vector<FactorUse> factor_use(const StateFile& file, const std::vector<PlannedSlot>& slots,
                                  const StateFile* reference) {
  std::vector<FactorUse> result;
  for (const PlannedSlot& row : slots) {
    const std::optional<FactorNames> names = factor_names(row.slot);
    const PlannedSlot* const column =
        names ? file.find(row.parameter + "/" + names->column) : nullptr;
    if (!column) continue;
    const PlannedSlot* full = nullptr;
    for (const std::string& name : names->full)
      if (reference && !full) full = reference->find(row.parameter + "/" + name);
    if (row.elements() > 0 && column->elements() > 0)
      result.push_back(factor_use(file, row, *column, full, reference));
  }
  return result;
}

StateComparison compare_states(const StateFile& a, const std::vector<PlannedSlot>& slots_a,
                               const StateFile& b, const std::vector<PlannedSlot>& slots_b) {
  StateComparison result;
  for (const PlannedSlot& slot : slots_a) {
    const PlannedSlot* const other = b.find(slot.key());
    if (!other)
      result.only_a.push_back(slot.key());
    else if (other->shape != slot.shape)
      result.reshaped.push_back(
          fmt::format("{} is {} and {}", slot.key(), slot.shape, other->shape));
    else
      result.common.push_back({&slot, other, difference(a.values(slot), b.values(*other))});
  }
  for (const PlannedSlot& slot : slots_b)
    if (!a.find(slot.key())) result.only_b.push_back(slot.key());
  return result;
}

}  // namespace minima
