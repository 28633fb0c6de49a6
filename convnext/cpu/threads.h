// A pool of threads, and memory that is kept from one call to the next.
//
// A parallel region runs in the thread that asks for it and in helpers that happen to be idle; it is
// complete without them. So callers in several threads share the helpers of the process, and a child
// of fork, which has none of its parent's helpers, starts a pool of its own.

#pragma once

#include <pthread.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "constants.h"

namespace {

// The CPUs that a thread may run on
struct Affinity {
#ifdef __linux__
  cpu_set_t cpus;
  Affinity() {
    if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus)) CPU_ZERO(&cpus);
  }
  void become(const Affinity& other) {
    if (CPU_EQUAL(&cpus, &other.cpus)) return;
    cpus = other.cpus;
    pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
  }
#else
  void become(const Affinity&) {}
#endif
};

// What threads do together: run(task, thread), thread 0 being the caller
struct Region {
  void (*run)(const void* task, int64_t thread);
  const void* task;
  int64_t threads;
  int64_t joined = 1;               // threads so far, the caller first
  std::atomic<int64_t> inside{0};   // helpers that have not left yet
  std::atomic<bool> failed{false};  // an exception was thrown: out of memory
  Region* next = nullptr;           // in the pool's list
  Affinity affinity{};

  void join(int64_t thread) {
    try {
      run(task, thread);
    } catch (...) {
      failed = true;
    }
  }
};

class Pool {
 public:
  // The process's own. It is never destroyed, since its helpers wait until the process ends.
  static Pool& instance() {
    [[maybe_unused]] static const int once =
        pthread_atfork(nullptr, nullptr, [] { current() = nullptr; });
    Pool* pool = current();
    if (pool) return *pool;
    Pool* const made = new Pool;
    if (current().compare_exchange_strong(pool, made)) return *made;
    delete made;  // another thread made one meanwhile: it is `pool` now
    return *pool;
  }

  // Runs a region to its end
  void run(Region& region) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      start_helpers(region.threads - 1);
      region.next = open_.load();
      open_ = &region;
      if (sleeping_ > 0) wake_.notify_all();
    }
    region.join(0);
    std::unique_lock<std::mutex> lock(mutex_);
    close(region);
    if (region.inside == 0) return;
    lock.unlock();
    if (spin([&] { return region.inside == 0; })) return;
    lock.lock();
    left_.wait(lock, [&] { return region.inside == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::atomic<Region*> open_{nullptr};  // regions that helpers may still join
  int64_t helpers_ = 0, working_ = 0, sleeping_ = 0;
  const int64_t cpus_ = std::max<int64_t>(1, std::thread::hardware_concurrency());
  std::atomic<int64_t> spins_{0};

  static std::atomic<Pool*>& current() {
    static std::atomic<Pool*> pool{nullptr};
    return pool;
  }

  // Whether `ready` came true within some 0.1 ms: sleeping and waking take as long
  template <class Ready>
  bool spin(const Ready& ready) const {
    for (int64_t i = spins_; i > 0; --i) {
      if (ready()) return true;
#ifdef __x86_64__
      _mm_pause();
#endif
    }
    return ready();
  }

  // Enough for one region more, but no more than CPUs or than one region asks for
  void start_helpers(int64_t wanted) {
    const int64_t most = std::max(wanted, cpus_ - 1);
    try {
      for (; helpers_ - working_ < wanted && helpers_ < most; ++helpers_)
        std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {  // the system gives no more: fewer will do
    }
    spins_ = helpers_ < cpus_ ? 2000 : 0;
  }

  void close(const Region& region) {
    if (open_ == &region) {
      open_ = region.next;
      return;
    }
    for (Region* other = open_; other; other = other->next)
      if (other->next == &region) other->next = region.next;
  }

  // A helper's life
  void help() {
    Affinity own;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      while (!open_) {
        lock.unlock();
        spin([&] { return open_ != nullptr; });
        lock.lock();
        if (open_) break;
        ++sleeping_;
        wake_.wait(lock, [&] { return open_ != nullptr; });
        --sleeping_;
      }
      Region& region = *open_;
      const int64_t thread = region.joined++;
      if (region.joined == region.threads) close(region);
      ++region.inside, ++working_;
      lock.unlock();
      own.become(region.affinity);
      region.join(thread);
      lock.lock();
      --working_;
      if (--region.inside == 0) left_.notify_all();  // from here on the region may be gone
    }
  }
};

// task(i, thread) for every i < count: each thread begins with a share of its own, whose neighbours
// it has in its cache, and helps with the others' when that is done.
template <class Task>
void in_parallel(int64_t count, int64_t threads, const Task& task) {
  threads = std::max<int64_t>(1, std::min(count, threads));
  struct alignas(LINE_BYTES) Next {
    std::atomic<int64_t> value{0};
  };
  const std::unique_ptr<Next[]> next(new Next[threads]);
  const auto run = [&](int64_t thread) {
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t share = (thread + i) % threads, last = count * (share + 1) / threads;
      for (int64_t t; (t = count * share / threads + next[share].value++) < last;) task(t, thread);
    }
  };
  if (threads == 1) return run(0);
  Region region{[](const void* self, int64_t thread) {
                  (*static_cast<decltype(&run)>(self))(thread);
                },
                &run, threads};
  Pool::instance().run(region);
  if (region.failed) throw std::bad_alloc();
}

// Memory that begins with a cache line, kept from one call to the next: fresh memory is slow
class Memory {
 public:
  void* of(size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      size_ = 0;
      data_.reset(new (LINE) std::byte[bytes]);
      size_ = bytes;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t LINE{LINE_BYTES};
  struct Free {
    void operator()(std::byte* data) const { ::operator delete[](data, LINE); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

}  // namespace
