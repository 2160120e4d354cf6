"""Mistakes that people make in kernels and in what starts them: what is wrong, the file, the right text (found once), the
wrong one, and the case of tests/device that must see it."""

OPS = "every op on the device agrees with the CPU*"
LARGE = "ops over several warps*"
STEPS = "every optimizer *"
STRETCHES = "*over many stretches*"
NORM = "the norm*clipping and skipping*"
FINITE = "a value that is not finite is found*"
NARROW = "products of numbers of two bytes*"
ADDRESSES = "a product takes operands at any address"
TF32 = "TF32 is taken*"
HELD = "a norm of rows of any width*"
TABLE = "the gradient of a table*"
ADDED = "gradients of rows and dense ones*"
TILES = "attention is that of the CPU*"
WRONG_ID = "a wrong id on the device is an error*"
VIEWS = "a view that begins at any element*"
AHEAD = "each batch copied ahead is whole*"

MUTANTS = [
    # barriers
    ("no barrier before the warps' values are read", "core/cuda/block.hpp",
     "= value;\n  __syncthreads();\n", "= value;\n", LARGE),
    ("attention: tiles read before they are filled", "core/ops/attention_tiles.hpp",
     "    copies.wait();\n    __syncthreads();\n", "    copies.wait();\n", TILES),
    ("attention: copies that nobody waited for", "core/ops/attention_tiles.hpp",
     "    copies.wait();\n    __syncthreads();\n", "    __syncthreads();\n", TILES),
    ("attention: tiles filled before they have been used", "core/ops/attention_tiles.hpp",
     "      __syncthreads();  // what lies there has been used\n", "", TILES),
    ("some threads leave before a barrier", "optim/engine/cuda/update.hpp",
     "    __syncthreads();  // all have read what the next stretch",
     "    if (threadIdx.x < length) __syncthreads();  // all have read what the next stretch", STEPS),
    ("the next parameter's places overwrite those that are still read", "optim/engine/cuda/passes.hpp",
     "    if (next < end) __syncthreads();  // all have read what the next parameter overwrites\n", "", STEPS),
    ("codes are made of a largest value that is not there yet", "optim/engine/cuda/update.hpp",
     "    if (!block) return;\n    __syncthreads();", "    if (!block) return;", STEPS),
    ("an update reads of its parameter what is not there yet", "optim/engine/cuda/passes.hpp",
     "    __syncthreads();\n    const Step update", "    const Step update", STEPS),
    ("the largest of a block is taken before it is 0", "optim/engine/cuda/update.hpp",
     "        shared.moved[b] = 0;\n      }\n      __syncthreads();\n", "        shared.moved[b] = 0;\n      }\n", STEPS),
    ("a sum reads of its parameter what is not there yet", "optim/engine/cuda/passes.hpp",
     "columns.fill(view, begin_of_block);\n  __syncthreads();\n", "columns.fill(view, begin_of_block);\n", STEPS),
    ("rows are put together before all warps have theirs", "optim/engine/cuda/passes.hpp",
     "  if constexpr (detail::GoesToMatrix<Term>) {\n    __syncthreads();\n", "  if constexpr (detail::GoesToMatrix<Term>) {\n", STEPS),
    ("columns are put together before all warps have theirs", "optim/engine/cuda/passes.hpp",
     "    sums[warp][lane] = sum;\n    __syncthreads();\n", "    sums[warp][lane] = sum;\n", STEPS),
    ("weighted columns overwrite those that are still read", "optim/engine/cuda/passes.hpp",
     "    __syncthreads();  // all have read what is overwritten\n", "", STEPS),
    # edges
    ("the last pair of lanes is not merged", "core/cuda/block.hpp", "lanes > 0;", "lanes > 1;", LARGE),
    ("the last warp is left out", "core/cuda/block.hpp", "32 * warp < blockDim.x", "32 * warp + 32 < blockDim.x", LARGE),
    ("the last block of elements is left out", "core/cuda/each.hpp",
     "return ceil_div(threads, kThreads);", "return threads / kThreads;", OPS),
    ("the last rows are left out", "core/cuda/each.hpp",
     "ceil_div(width * rows, kThreads)", "width * rows / kThreads", OPS),
    ("the last element of a row is left out", "core/cuda/each.hpp",
     "for (i64 i = rank(); i < n; i += kSize) f(i);", "for (i64 i = rank(); i + 1 < n; i += kSize) f(i);", LARGE),
    ("dropout of another lane's four", "core/cuda/each.hpp", "lane / 16 * 16 + lane % 4 * 4", "lane / 16 * 16 + lane % 4", HELD),
    ("the last four of a row are left out", "core/cuda/each.hpp", "% (4 * together) < there", "% (4 * together) + 4 < there", HELD),
    ("four at once from where one lies", "core/cuda/each.hpp", "if (result.own[0].fits(row))", "if (n > 0)", HELD),
    ("a block without its last warp", "core/cuda/each.hpp", "ceil_div(n, 128) * 32", "n / 128 * 32", HELD),
    ("the wrong thread owns an element", "core/cuda/each.hpp", "rank() == i % kSize", "rank() == i % 32", LARGE),
    ("attention: columns behind the head are stored", "core/ops/attention_tiles.hpp",
     "e / 2 == half && column_of(m, e) < columns", "e / 2 == half", LARGE),
    ("attention: keys behind the text have weights", "core/ops/attention_forward.cu",
     "if (key + column_of(n, e) >= task.keys) p[n][e] = -std", "if (n < 0) p[n][e] = -std", LARGE),
    ("attention: a text's last tile is left out", "core/ops/attention_tiles.hpp",
     "(warps * kWarpRows) + x.texts);", "(warps * kWarpRows) + 1);", LARGE),
    ("attention: the dropout of the warp's own keys alone", "core/ops/attention_backward.cu",
     "is_kept(tile.kept[i], task.first + warp_row + row_of(e))", "is_kept(tile.kept[i], task.first + row_of(e))", LARGE),
    ("an entry ends one block late", "optim/engine/cuda/passes.hpp", "count_below(first, count, block + 1)", "count_below(first, count, block)", STEPS),
    ("the last chunk of rows is left out", "optim/engine/cuda/passes.hpp",
     "for (i64 chunk = warp; chunk < chunks;", "for (i64 chunk = warp; chunk + 1 < chunks;", STEPS),
    ("shared memory laid out for longer blocks", "optim/engine/cuda/update.hpp",
     "kept.store(fresh + s * slot_length + k);", "kept.store(fresh + s * kStretch + k);", STEPS),
    ("what is over four is left out", "optim/engine/cuda/quads.hpp",
     "for (u32 k = wide + threadIdx.x; k < n;", "for (u32 k = wide + threadIdx.x; k + 1 < n;", STRETCHES),
    ("four values in the row of the first", "optim/engine/cuda/update.hpp",
     "if (e + 1 < N && ++j == width)", "if (e + 1 < N && ++j > width)", STRETCHES),
    ("lanes of several blocks have one largest value", "optim/engine/cuda/update.hpp",
     "block % 128 == 0", "block % 8 == 0", STRETCHES),
    ("a warp's block has the largest value of one lane", "optim/engine/cuda/update.hpp",
     "      most = warp_largest(most);\n", "", STEPS),
    ("the second quad of a lane goes where the first lies", "optim/engine/cuda/update.hpp",
     "128 * q + 4 * lane", "4 * lane", STEPS),
    ("only the last columns of a wide row enter its sum", "optim/engine/cuda/passes.hpp",
     "of_row = first_tile ? sum : of_row + sum;", "of_row = sum;", STRETCHES),
    ("quads wherever values lie", "optim/engine/cuda/quads.hpp",
     "% bytes == 0 &&\n", "% bytes < 16 &&\n", "values that do not begin*"),
    ("attention: pairs stored wherever they lie", "core/ops/attention_tiles.hpp",
     "columns >= 8 * M && Pair::fits(to.row(row, column)) && to.stride % 2 == 0", "columns >= 8 * M", TILES),
    ("elementwise: four at once from where one lies", "core/ops/elementwise_map.hpp",
     "walk.steps[n][0] == 1 && Four<T>::fits(in[n]);", "walk.steps[n][0] == 1;", VIEWS),
    ("conversion: four at once from where one lies", "core/ops/convert.hpp",
     "return Four<From>::fits(from) && Four<To>::fits(to);", "return true;", VIEWS),
    ("a table's gradient: four at once from where one lies", "core/ops/embedding_rows.hpp",
     "width % kPack == 0 && Pack<T, kPack>::fits(dy) &&", "width % kPack == 0 &&", VIEWS),
    ("too few sums of rows in shared memory", "optim/engine/cuda/passes.hpp",
     "MINIMA_SHARED(double[kWarps][kRows], rows);", "MINIMA_SHARED(double[kWarps - 1][kRows], rows);", STRETCHES),
    ("offsets that do not end at the last row pass", "core/cuda/note_outside.cu",
     "(i < n - 1 || offsets[i] == rows)", "(i < n || offsets[i] == rows)", WRONG_ID),
    ("an id one too large passes", "core/cuda/note_outside.cu", "values[i] >= high))", "values[i] > high))", WRONG_ID),
    # masks and offsets
    ("attention: the mask of the first tiles for all", "core/ops/attention_dropout.hpp",
     "i64{group} * kGroup + column_of(i / 2, i % 2)", "column_of(i / 2, i % 2)", TILES),
    ("attention: the mask of the tile before", "core/ops/attention_dropout.hpp",
     "bits >> (key % kGroup / 8 * 2)", "bits", TILES),
    ("attention: keys by the queries' offsets", "core/ops/attention_tiles.hpp",
     "key = static_cast<int>(within(x.key_offsets[text], x.key_rows));",
     "key = static_cast<int>(within(x.query_offsets[text], x.key_rows));", LARGE),
    ("attention: dP without its mean", "core/ops/attention_backward.cu",
     "(gradient - dot[e / 2])", "gradient", LARGE),
    ("attention: the softmax forgets the largest score", "core/ops/attention_forward.cu",
     "largest[half] / Power::unit + math::log(total[half])", "math::log(total[half])", LARGE),
    ("attention: logarithms of sums in other units than the scores", "core/ops/attention_backward.cu",
     "tile.log_sum[i] * Power::unit", "tile.log_sum[i]", TILES),
    ("attention: sums stay when a larger score comes", "core/ops/attention_forward.cu",
     "each_sum<D / 8>([&](int m, int e) { sums[m][e] *= shrunk[e / 2]; });", "", LARGE),
    ("a tensor core's operands in another order", "core/cuda/tile_product.hpp",
     "i % 2 * 8 * kRow + i / 2 * 8", "i / 2 * 8 * kRow + i % 2 * 8", TILES),
    ("operands of TF32 in another order", "core/cuda/tile_product.hpp",
     "tf32_of(a[n][0]), tf32_of(a[n][2]), tf32_of(a[n][1])", "tf32_of(a[n][0]), tf32_of(a[n][1]), tf32_of(a[n][2])", TILES),
    # initialization
    ("errors not zeroed", "core/cuda/memory.cu",
     "check_cuda(cudaMemsetAsync(wrong, 0, sizeof(WrongValue), made.stream), \"memory for errors\");", "", OPS),
    ("the largest of a block begins as the last stretch left it", "optim/engine/cuda/update.hpp",
     "        for (int s = 0; s < kSlots; ++s) shared.largest[s][b] = 0;\n", "", STEPS),
    # streams
    ("a copy ahead goes where the work still reads", "core/cuda/copy_ahead.cu",
     "    check_cuda(cudaStreamWaitEvent(copies_, place.used, 0), \"a copy ahead\");\n", "", AHEAD),
    ("the work does not wait for the copy ahead", "core/cuda/copy_ahead.cu",
     "    check_cuda(cudaStreamWaitEvent(compute_, place.copied, 0), \"a copy ahead\");\n", "", AHEAD),
    # host and device
    ("the host reads the device's memory", "core/cuda/memory.cu",
     "if (wrong.found == WrongValue::none) return;", "if (wrong_value_of(gpu)->found == WrongValue::none) return;", OPS),
    ("cuBLAS has no stream", "core/cuda/memory.cu",
     "check_cublas(cublasSetStream(made.blas, made.stream), \"starting cuBLAS\");", "", OPS),
    ("a wait in every launch", "core/cuda/launch.hpp",
     "const cudaStream_t stream = stream_of(gpu);\n",
     "const cudaStream_t stream = stream_of(gpu);\n  cudaStreamSynchronize(stream);\n", NORM),
    ("a race for the first", "core/ops/finite.cu",
     "atomicMin(found, static_cast<unsigned long long>(i));", "*found = static_cast<unsigned long long>(i);", FINITE),
    # cuBLAS
    ("the other factor's rows", "core/ops/matmul.cu", "stride(b.stride)", "stride(a.stride)", OPS),
    ("transposes swapped", "core/ops/matmul.cu", "as_stored(b), as_stored(a)", "as_stored(a), as_stored(b)", OPS),
    ("cuBLASLt: the bias gradient of the other operand", "core/ops/matmul.cu",
     "in, out, rows, x, dy, dw,", "in, out, rows, dy, x, dw,", NARROW),
    ("cuBLASLt: an algorithm for other addresses", "core/ops/matmul.cu",
     "A.alignment,    B.alignment,    D.alignment}", "256u, 256u, 256u}", ADDRESSES),
    ("f32 is TF32 unasked", "core/ops/matmul.cu", "std::is_same_v<T, float> && tf32_allowed()", "std::is_same_v<T, float>", TF32),
    # rows of a table
    ("equal ids in another order", "core/ops/embedding_rows.hpp", "(other == own && tile + j < k)", "(other == own && tile + j > k)", TABLE),
    ("the first of a row is not known again", "core/ops/embedding_rows.hpp",
     "sorted[place - 1] < sorted[place]", "sorted[place - 1] <= sorted[place]", TABLE),
    ("rows merged without a limit", "core/parameter.cpp", "std::min(a.table_rows(), b.table_rows())", "Gradient::kManyRows", ADDED),
    # what stays on the device
    ("a skipped step is made", "optim/engine/cuda/passes.hpp", "    if (view.skipped) return;  // then all are\n", "", NORM),
    ("a skipped step advances t", "optim/engine/cuda/passes.hpp", "if (!view.skipped) ++*view.step;", "++*view.step;", NORM),
    ("the last chunk of the norm runs over", "optim/engine/engine.cu",
     "left < kNormChunk ? left : kNormChunk", "kNormChunk", NORM),
]

# What only ThreadSanitizer sees: the results are right here, whatever the order of threads and blocks.
WATCHED = "a watched step on the device*"
RACES = [
    ("the warps' values overwritten before all have read them", "core/cuda/block.hpp",
     "  __syncthreads();  // the last fold's values have been read\n", "", WATCHED),
    ("no barrier before the warps' values are read", "core/cuda/block.hpp",
     "= value;\n  __syncthreads();\n", "= value;\n", WATCHED),
    ("attention: tiles filled before they have been used", "core/ops/attention_tiles.hpp",
     "      __syncthreads();  // what lies there has been used\n", "", TILES),
    ("every block does the elements of those behind it as well", "core/cuda/each.hpp",
     "i < n; i += stride) f(i);", "i < n; i += kThreads) f(i);", "types convert and are filled*"),
    ("a block's scale written before all lanes have read it", "optim/engine/cuda/update.hpp",
     "    __syncwarp();  // all have read the block's scales\n", "", "a rule from outside of the tree*"),
    ("a row's weight read before it is there", "optim/engine/cuda/passes.hpp",
     "    __syncthreads();\n    down_columns(", "    down_columns(", "values that do not begin*"),
    ("many threads set a flag at once", "optim/engine/cuda/update.hpp",
     "atomicExch(&outcome->bad_weights, 1u);", "outcome->bad_weights = 1;", "a weight that is not finite any more*"),
    ("a race for the first", "core/ops/finite.cu",
     "atomicMin(found, static_cast<unsigned long long>(i));", "*found = static_cast<unsigned long long>(i);", FINITE),
]
