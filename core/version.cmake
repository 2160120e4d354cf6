# cmake -DVERSION=… -DSOURCE=… -DTO=… -P version.cmake: writes core/version.hpp's function, if it is not there yet.
if(EXISTS ${SOURCE}/.git)  # and not in a repository that holds it
  execute_process(COMMAND git describe --always --dirty --exclude * WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    string(APPEND VERSION " (${commit})")
  endif()
endif()
file(CONFIGURE OUTPUT ${TO} CONTENT [[#include "core/version.hpp"

const char* minima::version() { return "@VERSION@"; }
]] @ONLY)
