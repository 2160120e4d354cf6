/// TokenIds: a sequence of ids, two bytes each as long as all are below 65,536, four after that.
#pragma once

#include <vector>

#include "core/types.hpp"

namespace minima {

class TokenIds {
 public:
  void push_back(i32 id) {
    if (wide_.empty() && id >= 0 && id <= kMaxNarrow)
      narrow_.push_back(static_cast<u16>(id));
    else
      widen(), wide_.push_back(id);
  }
  void append(const TokenIds& other) {
    if (wide_.empty() && other.wide_.empty())
      narrow_.insert(narrow_.end(), other.narrow_.begin(), other.narrow_.end());
    else
      for (i64 i = 0; i < other.size(); ++i) push_back(other[i]);
  }

  i64 size() const { return static_cast<i64>(narrow_.size() + wide_.size()); }
  i32 operator[](i64 i) const {
    const auto at = static_cast<std::size_t>(i);
    return wide_.empty() ? narrow_[at] : wide_[at];
  }
  bool operator==(const TokenIds& other) const {
    if (size() != other.size()) return false;
    for (i64 i = 0; i < size(); ++i)
      if ((*this)[i] != other[i]) return false;
    return true;
  }

 private:
  static constexpr i32 kMaxNarrow = 65'535;
  void widen() {
    if (!wide_.empty()) return;
    wide_.assign(narrow_.begin(), narrow_.end());
    std::vector<u16>().swap(narrow_);
  }

  std::vector<u16> narrow_;  // one of the two is empty
  std::vector<i32> wide_;
};

}  // namespace minima
