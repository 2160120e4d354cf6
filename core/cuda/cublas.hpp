/// cuBLAS, loaded when a GPU is first used, as OpenBLAS is (core/cpu/blas.hpp): linked in, it would cost
/// every start of the program a third of a second, and no machine without it could start the program.
/// Its functions are called by their own names, which in `namespace minima::cuda` are these objects. Those of
/// cuBLASLt are among them: libcublas is linked with it.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>

namespace minima::cuda {

/// The address of a function of cuBLAS. Throws Error (run time) where the library is not installed.
void* in_cublas(const char* function);

template <class Function>
struct InCublas;
template <class Result, class... Parameters>
struct InCublas<Result(Parameters...)> {
  const char* name;
  Result operator()(Parameters... arguments) const {
    return reinterpret_cast<Result (*)(Parameters...)>(in_cublas(name))(arguments...);
  }
};

// cublas_v2.h makes of most of these names such with _v2, here as well.
inline constexpr InCublas<decltype(::cublasCreate)> cublasCreate{"cublasCreate_v2"};
inline constexpr InCublas<decltype(::cublasSetStream)> cublasSetStream{"cublasSetStream_v2"};
inline constexpr InCublas<decltype(::cublasSetMathMode)> cublasSetMathMode{"cublasSetMathMode"};
inline constexpr InCublas<decltype(::cublasGetStatusString)> cublasGetStatusString{
    "cublasGetStatusString"};
inline constexpr InCublas<decltype(::cublasGemmEx_64)> cublasGemmEx_64{"cublasGemmEx_64"};
inline constexpr InCublas<decltype(::cublasLtMatmulDescCreate)> cublasLtMatmulDescCreate{
    "cublasLtMatmulDescCreate"};
inline constexpr InCublas<decltype(::cublasLtMatmulDescDestroy)> cublasLtMatmulDescDestroy{
    "cublasLtMatmulDescDestroy"};
inline constexpr InCublas<decltype(::cublasLtMatmulDescSetAttribute)>
    cublasLtMatmulDescSetAttribute{"cublasLtMatmulDescSetAttribute"};
inline constexpr InCublas<decltype(::cublasLtMatrixLayoutCreate)> cublasLtMatrixLayoutCreate{
    "cublasLtMatrixLayoutCreate"};
inline constexpr InCublas<decltype(::cublasLtMatrixLayoutDestroy)> cublasLtMatrixLayoutDestroy{
    "cublasLtMatrixLayoutDestroy"};
inline constexpr InCublas<decltype(::cublasLtMatmulPreferenceCreate)>
    cublasLtMatmulPreferenceCreate{"cublasLtMatmulPreferenceCreate"};
inline constexpr InCublas<decltype(::cublasLtMatmulPreferenceDestroy)>
    cublasLtMatmulPreferenceDestroy{"cublasLtMatmulPreferenceDestroy"};
inline constexpr InCublas<decltype(::cublasLtMatmulPreferenceSetAttribute)>
    cublasLtMatmulPreferenceSetAttribute{"cublasLtMatmulPreferenceSetAttribute"};
inline constexpr InCublas<decltype(::cublasLtMatmulAlgoGetHeuristic)>
    cublasLtMatmulAlgoGetHeuristic{"cublasLtMatmulAlgoGetHeuristic"};
inline constexpr InCublas<decltype(::cublasLtMatmul)> cublasLtMatmul{"cublasLtMatmul"};

}  // namespace minima::cuda
