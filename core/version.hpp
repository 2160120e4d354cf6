/// Which minima this is.
#pragma once

namespace minima {

/// "0.1.0 (82f4903)": with the commit that it was built from, and "82f4903-dirty" where files had been changed since. Without
/// the commit where the sources were no git repository.
const char* version();

}  // namespace minima
