// Activations that bend, and gates of channels.
#include "vectors.cuh"

// As `activation.rs` numbers them.
enum Activation { HARD_SWISH = 0, SILU = 1, GELU = 2 };
// As `gate.rs` means them.
enum Gate { HARD_SIGMOID = 0, SIGMOID = 1 };

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// A NaN stays.
__device__ __forceinline__ float hard_sigmoid(float x) {
    float shifted = x + 3.0f;
    return (shifted < 0.0f ? 0.0f : shifted > 6.0f ? 6.0f : shifted) * (1.0f / 6.0f);
}

// How much of a standard normal distribution lies below x.
__device__ __forceinline__ float normal_share(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }

__device__ __forceinline__ float value_of(int activation, float x) {
    switch (activation) {
        case HARD_SWISH: return x * hard_sigmoid(x);
        case SILU: return x * sigmoid(x);
        default: return x * normal_share(x);
    }
}

__device__ __forceinline__ float slope_of(int activation, float x) {
    switch (activation) {
        case HARD_SWISH: return x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x * (1.0f / 3.0f) + 0.5f;
        case SILU: {
            float share = sigmoid(x);
            return share + x * share * (1.0f - share);
        }
        default: return normal_share(x) + x * 0.39894228f * expf(-0.5f * x * x);
    }
}

__device__ __forceinline__ float share_of(int gate, float logit) {
    return gate == HARD_SIGMOID ? hard_sigmoid(logit) : sigmoid(logit);
}

__device__ __forceinline__ float share_slope_of(int gate, float logit) {
    if (gate == HARD_SIGMOID) return logit > -3.0f && logit < 3.0f ? 1.0f / 6.0f : 0.0f;
    float share = sigmoid(logit);
    return share * (1.0f - share);
}

// Each value, with its channel's bias where there is one, through an activation.
template <typename T, int N>
__device__ __forceinline__ void activate(const T* input, const float* bias, T* output, int64_t count, int channels,
                                         int activation) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % channels;
    float value[N];
    load<T, N>(input + at, value);
#pragma unroll
    for (int i = 0; i < N; i++) value[i] = value_of(activation, value[i] + (bias ? bias[channel + i] : 0.0f));
    store<T, N>(output + at, value);
}

template <typename T, int N>
__device__ __forceinline__ void activate_gradient(const T* input, const float* bias, const T* grad, T* of_input,
                                                  int64_t count, int channels, int activation) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % channels;
    float value[N], of[N];
    load<T, N>(input + at, value);
    load<T, N>(grad + at, of);
#pragma unroll
    for (int i = 0; i < N; i++) of[i] *= slope_of(activation, value[i] + (bias ? bias[channel + i] : 0.0f));
    store<T, N>(of_input + at, of);
}

// (batch, pixels, channels) times the shares that logits (batch, channels) become.
template <typename T, int N>
__device__ __forceinline__ void gate(const T* input, const T* logits, T* output, int64_t count, int pixels,
                                     int channels, int kind) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int64_t image = at / ((int64_t)pixels * channels);
    float value[N], logit[N];
    load<T, N>(input + at, value);
    load<T, N>(logits + image * channels + at % channels, logit);
#pragma unroll
    for (int i = 0; i < N; i++) value[i] *= share_of(kind, logit[i]);
    store<T, N>(output + at, value);
}

// The gradient of the logits: a block of 32 x 8 threads for 32 channels of an image.
template <typename T>
__device__ __forceinline__ void gate_logits(const T* input, const T* logits, const T* grad, T* of_logits, int pixels,
                                            int channels, int kind) {
    __shared__ float sums[8][32];
    int channel = blockIdx.x * 32 + threadIdx.x;
    int64_t image = blockIdx.y;
    float sum = 0.0f;
    if (channel < channels)
        for (int pixel = threadIdx.y; pixel < pixels; pixel += 8) {
            int64_t at = (image * pixels + pixel) * channels + channel;
            sum += wide(input[at]) * wide(grad[at]);
        }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || channel >= channels) return;
    for (int row = 1; row < 8; row++) sum += sums[row][threadIdx.x];
    int64_t at = image * channels + channel;
    of_logits[at] = narrow<T>(sum * share_slope_of(kind, wide(logits[at])));
}

#define OF_WIDTH(NAME, T, N, WIDTH)                                                                                    \
    extern "C" __global__ void activate_##NAME##_##WIDTH(const T* input, const float* bias, T* output, int64_t count,  \
                                                         int channels, int activation) {                              \
        activate<T, N>(input, bias, output, count, channels, activation);                                              \
    }                                                                                                                  \
    extern "C" __global__ void activate_gradient_##NAME##_##WIDTH(const T* input, const float* bias, const T* grad,    \
                                                                  T* of_input, int64_t count, int channels,            \
                                                                  int activation) {                                   \
        activate_gradient<T, N>(input, bias, grad, of_input, count, channels, activation);                             \
    }                                                                                                                  \
    extern "C" __global__ void gate_##NAME##_##WIDTH(const T* input, const T* logits, T* output, int64_t count,        \
                                                     int pixels, int channels, int kind) {                             \
        gate<T, N>(input, logits, output, count, pixels, channels, kind);                                              \
    }

#define INSTANCE(NAME, T, N)                                                                                           \
    OF_WIDTH(NAME, T, N, wide)                                                                                         \
    OF_WIDTH(NAME, T, 1, one)                                                                                          \
    extern "C" __global__ void gate_logits_##NAME(const T* input, const T* logits, const T* grad, T* of_logits,        \
                                                  int pixels, int channels, int kind) {                               \
        gate_logits<T>(input, logits, grad, of_logits, pixels, channels, kind);                                        \
    }

FOR_TYPES(INSTANCE)
