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

// Of all threads of a warp, for each of them.
__device__ __forceinline__ float most_of_warp(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, offset));
    return value;
}

__device__ __forceinline__ float sum_of_warp(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffff, value, offset);
    return value;
}

// Sums two values of each element over the rows of a part, for (threads.x) packs of channels. `read` gives both values.
// Partial sums go to out[part][2][channels].
template <int N, typename Read>
__device__ __forceinline__ void sum_rows(int64_t rows, int channels, float* out, Read read) {
    extern __shared__ float shared[];
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    int channel = pack * N;
    float first[N] = {}, second[N] = {};
    if (channel < channels) {
        int64_t step = (int64_t)gridDim.y * blockDim.y;
        for (int64_t row = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += step)
            read(row, channel, first, second);
    }
    // Rows of threads are added up in halves; their number is a power of two.
    float* mine = shared + (threadIdx.y * blockDim.x + threadIdx.x) * 2 * N;
#pragma unroll
    for (int i = 0; i < N; i++) {
        mine[i] = first[i];
        mine[N + i] = second[i];
    }
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            const float* other = mine + half * blockDim.x * 2 * N;
#pragma unroll
            for (int i = 0; i < 2 * N; i++) mine[i] += other[i];
        }
    }
    if (threadIdx.y == 0 && channel < channels) {
        float* to = out + (int64_t)blockIdx.y * 2 * channels + channel;
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = mine[i];
            to[channels + i] = mine[N + i];
        }
    }
}

// Each kernel for both types, one value at a time and as many as 16 bytes hold.
#define FOR_TYPES(INSTANCE)              \
    INSTANCE(f32, float, 4)              \
    INSTANCE(bf16, __nv_bfloat16, 8)
