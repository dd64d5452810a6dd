// Values of f32 or bf16, several at once; arithmetic is in f32.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
    T at[N];
};

__device__ __forceinline__ float wide(float value) { return value; }
__device__ __forceinline__ float wide(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T narrow(float value);
template <>
__device__ __forceinline__ float narrow<float>(float value) { return value; }
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) { return __float2bfloat16(value); }

template <typename T, int N>
__device__ __forceinline__ void load(const T* from, float (&to)[N]) {
    Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; i++) to[i] = wide(pack.at[i]);
}

template <typename T, int N>
__device__ __forceinline__ void store(T* to, const float (&from)[N]) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; i++) pack.at[i] = narrow<T>(from[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// The value, or the least one; a NaN stays, so that it is seen.
__device__ __forceinline__ float at_least(float value, float least) { return value < least ? least : value; }

// The part of a gradient that goes through an activation: none where it cut.
__device__ __forceinline__ float through(float grad, float output, float least) { return output <= least ? 0.0f : grad; }

// Each kernel for both types, one value at a time and as many as 16 bytes hold.
#define FOR_TYPES(INSTANCE)              \
    INSTANCE(f32, float, 4)              \
    INSTANCE(bf16, __nv_bfloat16, 8)
