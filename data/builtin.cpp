#include "data/builtin.hpp"

// The assembler copies a file into the program's read-only data, between two symbols.
#define MINIMA_EMBED(name, file)                                               \
  asm(".section .rodata\n"                                                     \
      ".global minima_builtin_" #name "_begin, minima_builtin_" #name          \
      "_end\n"                                                                 \
      "minima_builtin_" #name "_begin: .incbin \"" MINIMA_BUILTIN_DIR "/" file \
      "\"\n"                                                                   \
      "minima_builtin_" #name                                                  \
      "_end: .byte 0\n"                                                        \
      ".previous\n");                                                          \
  extern "C" const char minima_builtin_##name##_begin[], minima_builtin_##name##_end[];

MINIMA_EMBED(labels, "labels.txt")
MINIMA_EMBED(train, "train.tsv")
MINIMA_EMBED(dev, "dev.tsv")
MINIMA_EMBED(test, "test.tsv")

namespace minima {

BuiltinTexts builtin_texts() {
  return {{minima_builtin_labels_begin, minima_builtin_labels_end},
          {minima_builtin_train_begin, minima_builtin_train_end},
          {minima_builtin_dev_begin, minima_builtin_dev_end},
          {minima_builtin_test_begin, minima_builtin_test_end}};
}

}  // namespace minima
