// The tiles (AMX) of a CPU that has none, one number at a time: included before kernels.cpp. Those
// that were not configured, or that Linux was not asked for, compute NaN; a CPU would stop the process.

#pragma once

#include "software_avx512.h"

#define __AMX_BF16__ 1

#include <sys/syscall.h>
#include <unistd.h>

namespace software {

struct Tile {
  unsigned char rows[16][64];
};

thread_local Tile tiles[8];
thread_local bool configured = false;
bool permitted = false;

inline float value(const Tile& tile, int row, int i) {
  uint16_t half;
  std::memcpy(&half, tile.rows[row] + 2 * i, 2);
  return widened(half);
}

inline void load(int i, const void* from, int64_t stride) {
  for (int row = 0; row < 16; ++row)
    std::memcpy(tiles[i].rows[row], static_cast<const char*>(from) + row * stride, 64);
}

inline void store(int i, void* to, int64_t stride) {
  for (int row = 0; row < 16; ++row)
    std::memcpy(static_cast<char*>(to) + row * stride, tiles[i].rows[row], 64);
}

inline void multiply(int to, int a, int b) {
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      float sum;
      std::memcpy(&sum, tiles[to].rows[row] + 4 * column, 4);
      for (int k = 0; k < 32; ++k)
        sum += value(tiles[a], row, k) * value(tiles[b], k / 2, 2 * column + k % 2);
      if (!configured || !permitted) sum = NAN;
      std::memcpy(tiles[to].rows[row] + 4 * column, &sum, 4);
    }
}

// What Linux answers: ARCH_GET_XCOMP_SUPP, then ARCH_REQ_XCOMP_PERM
inline long arch_prctl(int code, uint64_t* supported) {
  *supported = 1 << 18;
  return code == 0x1021 ? 0 : -1;
}

inline long arch_prctl(int code, int feature) {
  permitted = code == 0x1023 && feature == 18;
  return permitted ? 0 : -1;
}

}  // namespace software

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) (void)(config), software::configured = true
#define _tile_release() software::configured = false
#define _tile_zero(i) std::memset(&software::tiles[i], 0, sizeof(software::Tile))
#define _tile_loadd software::load
#define _tile_stored software::store
#define _tile_dpbf16ps software::multiply
#define syscall(number, code, argument) software::arch_prctl(code, argument)
