// Pixels shared out among threads, and room for their rows.

#pragma once

#include <algorithm>
#include <cstdint>

#include "products.h"
#include "threads.h"

namespace {

constexpr int64_t FEWEST = 64;  // pixels for each thread; with fewer, threads share them

// Whole groups of rows, at most 128 rows each: their values, and some of their hidden values, fit a
// core's cache
template <class T>
struct Chunks {
  static constexpr int64_t MOST = 128 / GROUP<T> * GROUP<T>;
  int64_t pixels, threads, groups = parts(pixels, GROUP<T>);
  bool few = pixels < threads * FEWEST;
  // as many for one thread as for another
  int64_t count = few ? parts(pixels, MOST) : threads * parts(pixels, threads * MOST);
  int64_t rows = parts(groups, std::max<int64_t>(count, 1)) * GROUP<T>;  // of the longest

  Chunks(int64_t pixels_, int64_t threads_) : pixels(pixels_), threads(threads_) {}

  int64_t start(int64_t i) const { return std::min(pixels, groups * i / count * GROUP<T>); }

  // task(first pixel, last, thread)
  template <class Task>
  void each(const Task& task) const {
    in_parallel(count, threads, [&](int64_t i, int64_t thread) {
      task(start(i), start(i + 1), thread);
    });
  }

  // a row for every pixel, a group at a time
  template <class Gather>
  void gather(const Rows<T>& all, const Gather& gather) const {
    in_parallel(groups, threads, [&](int64_t i, int64_t) {
      gather(i * GROUP<T>, std::min(pixels, (i + 1) * GROUP<T>), all.from(i * GROUP<T>));
    });
  }

  // a linear layer, some of its panels at a time; done(group of pixels, i, output, low, high)
  template <class Done>
  void share(const Rows<T>& all, const Weight<T>& weight, const Done& done) const {
    const int64_t step = parts(weight.panels, threads * 3), tasks = parts(weight.panels, step);
    in_parallel(count * tasks, threads, [&](int64_t task, int64_t) {
      [[maybe_unused]] const Unit<T> unit;
      const int64_t first = start(task / tasks), last = start(task / tasks + 1),
                    panel = task % tasks * step;
      product(all.from(first), last - first, weight, panel, std::min(panel + step, weight.panels),
              0, weight.inputs,
              [&](int64_t group, int64_t i, int64_t n, Lanes low, Lanes high) {
                done(first + group, i, n, low, high);
              });
    });
  }
};

// Rows of the chunk that a thread has in hand; of all, where threads share them
template <class T>
struct Room {
  int64_t rows, width;
  T* data;

  Room(const Chunks<T>& chunks, int64_t width_, Memory& memory)
      : rows(chunks.rows), width(width_),
        data(static_cast<T*>(memory.of((chunks.few ? chunks.count : chunks.threads) * rows * width *
                                       sizeof(T)))) {}

  Rows<T> all() const { return {data, width}; }
  Rows<T> of(int64_t thread) const { return all().from(thread * rows); }
};

}  // namespace
