// The functions that Python calls: ConvNeXt's stem, downsampling and blocks for inference on a CPU.
//
// T is the type that matrix products multiply, float or bfloat16; everything else is float32.
// library.py checks all that it passes. No exception leaves a function: it returns a status.

#include <cstdint>
#include <new>

#include "block.h"
#include "constants.h"
#include "gelu.h"
#include "layers.h"
#include "maps.h"

namespace {

template <class Kernel>
int32_t guarded(const Kernel& kernel) {
  try {
    kernel();
    return DONE;
  } catch (const std::bad_alloc&) {
    return OUT_OF_MEMORY;
  } catch (...) {
    return FAILED;
  }
}

// kernel(a value of type T)
template <class Kernel>
int32_t for_type(int32_t bfloat16, const Kernel& kernel) {
  if (!bfloat16) return guarded([&] { kernel(float{}); });
#ifdef HAS_BFLOAT16
  return guarded([&] { kernel(BFloat16{}); });
#else
  return FAILED;
#endif
}

template <class T>
void gelu_of(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; i += VECTOR_WIDTH) store(y + i, gelu<T>(load(x + i)));
}

constexpr int64_t FACTS[] = {VERSION,          sizeof(Map),          sizeof(Images), sizeof(Layer),
                             sizeof(BlockWeights), sizeof(Setting), VECTOR_WIDTH};
constexpr int64_t FACTS_COUNT = sizeof(FACTS) / sizeof(*FACTS);

}  // namespace

extern "C" {

// What this build is; -1 beyond the last fact
int64_t convnext_fact(int64_t i) { return 0 <= i && i < FACTS_COUNT ? FACTS[i] : -1; }

int32_t convnext_has_bfloat16() { return has_bfloat16(); }

// To be called in every process before anything is computed in bfloat16
int32_t convnext_request_bfloat16() { return request_tiles() ? DONE : FAILED; }

int32_t convnext_stem(const Map* map, const Images* images, int64_t patch, const Layer* layer,
                      const float* norm_weight, const float* norm_bias, const Setting* setting) {
  return for_type(setting->bfloat16, [&](auto type) {
    stem<decltype(type)>(*map, *images, patch, *layer, norm_weight, norm_bias, *setting);
  });
}

int32_t convnext_downsample(const Map* map, const Map* from, const Layer* layer,
                            const Setting* setting) {
  return for_type(setting->bfloat16, [&](auto type) {
    downsample<decltype(type)>(*map, *from, *layer, *setting);
  });
}

int32_t convnext_blocks(const Map* map, const Map* other, const BlockWeights* weights,
                        int64_t count, const Setting* setting) {
  return for_type(setting->bfloat16, [&](auto type) {
    blocks<decltype(type)>(*map, *other, weights, count, *setting);
  });
}

// x, y: (count), whole lines; for tests
int32_t convnext_gelu(const float* x, int64_t count, float* y, int32_t bfloat16) {
  return for_type(bfloat16, [&](auto type) { gelu_of<decltype(type)>(x, count, y); });
}
}
