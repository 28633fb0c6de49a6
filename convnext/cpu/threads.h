// Work for several threads, and memory that they find again.

#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace {

// task(i, thread) for every i < count: each thread begins with a share of its own, whose neighbours
// it has in its cache, and helps with the others' when that is done
template <class Task>
void in_parallel(int64_t count, int64_t threads, const Task& task) {
  threads = std::max<int64_t>(1, std::min(count, threads));
  struct alignas(64) Next {
    std::atomic<int64_t> value{0};
  };
  const std::unique_ptr<Next[]> next(new Next[threads]);
#pragma omp parallel num_threads(threads) if (threads > 1)
  for (int64_t thread = omp_get_thread_num(), i = 0; i < threads; ++i) {
    const int64_t share = (thread + i) % threads, last = count * (share + 1) / threads;
    for (int64_t t; (t = count * share / threads + next[share].value++) < last;) task(t, thread);
  }
}

// Memory in whole cache lines, kept from one call to the next: fresh memory takes long to be had
class Memory {
 public:
  void* of(size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      data_.reset(new (LINE) std::byte[bytes]);
      size_ = bytes;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t LINE{64};
  struct Free {
    void operator()(std::byte* data) const { ::operator delete[](data, LINE); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

}  // namespace
