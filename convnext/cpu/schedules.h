// How the pixels of a map are shared out among threads: by chunks, or by panels of a weight.

#pragma once

#include <algorithm>
#include <cstdint>

#include "gemm.h"
#include "threads.h"

namespace {

constexpr int64_t FEWEST = 64;  // pixels for each thread; with fewer, threads share them all

// The pixels in chunks of whole tiles, at most 128 rows each: their values, and some of their hidden
// values, fit a core's cache
template <class T>
struct Chunks {
  static constexpr int64_t MOST = 128 / TILE_ROWS<T> * TILE_ROWS<T>;
  int64_t pixels, threads, tiles = divide_up(pixels, TILE_ROWS<T>);
  bool few = pixels < threads * FEWEST;
  // as many for one thread as for another
  int64_t count =
      few ? divide_up(pixels, MOST) : threads * divide_up(pixels, threads * MOST);
  int64_t rows = divide_up(tiles, std::max<int64_t>(count, 1)) * TILE_ROWS<T>;  // of the longest

  Chunks(int64_t pixels_, int64_t threads_) : pixels(pixels_), threads(threads_) {}

  int64_t start(int64_t i) const { return std::min(pixels, tiles * i / count * TILE_ROWS<T>); }

  // memory for rows: of a chunk for every thread, or of all chunks
  Rows<T> room(int64_t width, Memory& memory) const {
    const int64_t total = (few ? count : threads) * rows;
    return {static_cast<T*>(memory.of(total * width * sizeof(T))), width};
  }
};

// task(first pixel, last, the thread's first row) for every chunk
template <class T, class Task>
void each_chunk(const Chunks<T>& chunks, const Task& task) {
  in_parallel(chunks.count, chunks.threads, [&](int64_t i, int64_t thread) {
    [[maybe_unused]] const Unit<T> unit;
    task(chunks.start(i), chunks.start(i + 1), thread * chunks.rows);
  });
}

// gather(first pixel, last, their rows) for every tile
template <class T, class Gather>
void each_tile(const Chunks<T>& chunks, const Rows<T>& rows, const Gather& gather) {
  in_parallel(chunks.tiles, chunks.threads, [&](int64_t i, int64_t) {
    const int64_t first = i * TILE_ROWS<T>;
    gather(first, std::min(chunks.pixels, first + TILE_ROWS<T>), rows.from(first));
  });
}

// All rows by a weight, some panels at a time: done(tile, i, output, low, high) as of gemm
template <class T, class Done>
void each_panel(const Chunks<T>& chunks, const Rows<T>& rows, const Weight<T>& weight,
                const Done& done) {
  const int64_t step = divide_up(weight.panels, chunks.threads * 3),
                tasks = divide_up(weight.panels, step);
  in_parallel(chunks.count * tasks, chunks.threads, [&](int64_t task, int64_t) {
    [[maybe_unused]] const Unit<T> unit;
    const int64_t first = chunks.start(task / tasks), last = chunks.start(task / tasks + 1),
                  panel = task % tasks * step;
    gemm(rows.from(first), last - first, weight, panel, std::min(panel + step, weight.panels), 0,
         weight.inputs, [&](int64_t tile, int64_t i, int64_t n, Vector low, Vector high) {
           done(first + tile, i, n, low, high);
         });
  });
}

// Many pixels: each thread takes a chunk and does everything for it while it is in its cache.
// Few: all threads share them, and take some outputs of every product each.
template <class T, class Layer>
void run(const Layer& layer, int64_t pixels, int64_t threads) {
  const Chunks<T> chunks(pixels, threads);
  chunks.few ? layer.by_panels(chunks) : layer.by_chunks(chunks);
}

}  // namespace
