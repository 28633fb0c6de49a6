// What C++ and Python must agree on. constants.py reads these numbers from this very file, so each
// definition stands on one line.

#pragma once

#include <cstdint>

namespace {

constexpr int64_t VERSION = 1;  // of the layouts and structures; any change of them gets a new one

constexpr int64_t KERNEL_SIZE = 7;     // height and width of a depthwise weight
constexpr int64_t CHANNEL_GROUP = 16;  // channels of a pixel that stand together in a map
constexpr int64_t PADDING = 32;        // widths are padded with zeros to a multiple
constexpr int64_t LINE_BYTES = 64;     // of a cache line, which every array begins with
constexpr int64_t LINE_WORDS = 16;     // of 4 bytes: a float32, or two bfloat16
constexpr int64_t MAX_THREADS = 1024;

// What a function of kernels.cpp returns
constexpr int64_t DONE = 0;
constexpr int64_t OUT_OF_MEMORY = 1;
constexpr int64_t FAILED = 2;

}  // namespace
