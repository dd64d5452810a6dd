// Batch normalisation and biases over (rows, channels): sums of channels, then one pass over the values.
#include "vectors.cuh"

// Adds up the parts of both sums of a channel; the result is in the threads with threadIdx.y == 0. 32 x 32 threads.
__device__ __forceinline__ bool sum_parts(const float* parts, int count, int channels, int* at, double* first,
                                          double* second) {
    __shared__ double shared[2][32][33];
    int channel = blockIdx.x * 32 + threadIdx.x;
    double a = 0.0, b = 0.0;
    if (channel < channels)
        for (int part = threadIdx.y; part < count; part += 32) {
            a += parts[(int64_t)part * 2 * channels + channel];
            b += parts[(int64_t)part * 2 * channels + channels + channel];
        }
    shared[0][threadIdx.y][threadIdx.x] = a;
    shared[1][threadIdx.y][threadIdx.x] = b;
    __syncthreads();
    if (threadIdx.y > 0 || channel >= channels) return false;
    for (int row = 1; row < 32; row++) {
        a += shared[0][row][threadIdx.x];
        b += shared[1][row][threadIdx.x];
    }
    *at = channel;
    *first = a;
    *second = b;
    return true;
}

// Sums of the distance from the first row and of its square: as good as two passes where the first row is ordinary.
template <typename T, int N>
__device__ __forceinline__ void moments_parts(const T* input, int64_t rows, int channels, float* parts) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    float origin[N] = {};
    if (channel < channels) load<T, N>(input + channel, origin);
    sum_rows<N>(rows, channels, parts, [&](int64_t row, int channel, float (&first)[N], float (&second)[N]) {
        float value[N];
        load<T, N>(input + row * channels + channel, value);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float distance = value[i] - origin[i];
            first[i] += distance;
            second[i] += distance * distance;
        }
    });
}

template <typename T>
__device__ __forceinline__ void moments_whole(const T* input, const float* parts, int count, int64_t rows, int channels,
                                              float* mean, float* variance) {
    int channel;
    double sum, squares;
    if (!sum_parts(parts, count, channels, &channel, &sum, &squares)) return;
    double distance = sum / rows;
    mean[channel] = (float)(wide(input[channel]) + distance);
    variance[channel] = (float)fmax(squares / rows - distance * distance, 0.0);
}

template <typename T, int N>
__device__ __forceinline__ void batch_norm(const T* input, const T* residual, const float* mean, const float* variance,
                                           const float* weight, const float* bias, T* output, int64_t count,
                                           int channels, float epsilon, float least) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % channels;
    float value[N], added[N] = {};
    load<T, N>(input + at, value);
    if (residual) load<T, N>(residual + at, added);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float scale = rsqrtf(variance[channel + i] + epsilon) * weight[channel + i];
        float shift = bias[channel + i] - mean[channel + i] * scale;
        value[i] = at_least(value[i] * scale + (shift + added[i]), least);
    }
    store<T, N>(output + at, value);
}

// Sums of the gradient that came through the activation, and of its product with the distance from the mean.
template <typename T, int N>
__device__ __forceinline__ void gradient_parts(const T* input, const T* output, const T* grad, const float* mean,
                                               int64_t rows, int channels, float least, float* parts) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    float middle[N] = {};
    if (channel < channels && mean)
#pragma unroll
        for (int i = 0; i < N; i++) middle[i] = mean[channel + i];
    sum_rows<N>(rows, channels, parts, [&](int64_t row, int channel, float (&first)[N], float (&second)[N]) {
        int64_t at = row * channels + channel;
        float of[N], out[N], value[N] = {};
        load<T, N>(grad + at, of);
        load<T, N>(output + at, out);
        if (input) load<T, N>(input + at, value);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float here = through(of[i], out[i], least);
            first[i] += here;
            second[i] += here * (value[i] - middle[i]);
        }
    });
}

// The sums as they are: sums[2][channels].
extern "C" __global__ void gradient_whole(const float* parts, int count, int channels, float* sums) {
    int channel;
    double first, second;
    if (!sum_parts(parts, count, channels, &channel, &first, &second)) return;
    sums[channel] = (float)first;
    sums[channels + channel] = (float)second;
}

// From the sums to the gradients of weight and bias: out[2][channels].
extern "C" __global__ void norm_parameters(const float* sums, const float* variance, int channels, float epsilon,
                                           float* of_weight, float* of_bias) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    of_weight[channel] = sums[channels + channel] * rsqrtf(variance[channel] + epsilon);
    of_bias[channel] = sums[channel];
}

// The gradient of the input: a * grad - b * (input - mean) - c; b and c are zero where the moments are constants.
template <typename T, int N>
__device__ __forceinline__ void norm_input(const T* input, const T* output, const T* grad, const float* mean,
                                           const float* variance, const float* weight, const float* sums, T* of_input,
                                           T* of_residual, int64_t count, int channels, float epsilon, float least,
                                           float one_over_rows) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % channels;
    float value[N], out[N], of[N];
    load<T, N>(input + at, value);
    load<T, N>(output + at, out);
    load<T, N>(grad + at, of);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float inverse = rsqrtf(variance[channel + i] + epsilon);
        float a = weight[channel + i] * inverse;
        float b = a * inverse * inverse * sums[channels + channel + i] * one_over_rows;
        float c = a * sums[channel + i] * one_over_rows;
        of[i] = through(of[i], out[i], least);
        value[i] = a * of[i] - b * (value[i] - mean[channel + i]) - c;
    }
    store<T, N>(of_input + at, value);
    if (of_residual) store<T, N>(of_residual + at, of);
}

// running += momentum * (found - running), the variance unbiased.
extern "C" __global__ void follow(const float* mean, const float* variance, float* running_mean,
                                  float* running_variance, int channels, float momentum, float unbias) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    running_mean[channel] = (1.0f - momentum) * running_mean[channel] + momentum * mean[channel];
    running_variance[channel] = (1.0f - momentum) * running_variance[channel] + momentum * variance[channel] * unbias;
}

template <typename T, int N>
__device__ __forceinline__ void add_bias(const T* input, const float* bias, T* output, int64_t count, int channels,
                                         float least) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % channels;
    float value[N];
    load<T, N>(input + at, value);
#pragma unroll
    for (int i = 0; i < N; i++) value[i] = at_least(value[i] + bias[channel + i], least);
    store<T, N>(output + at, value);
}

// The gradient that came through the activation.
template <typename T, int N>
__device__ __forceinline__ void cut(const T* output, const T* grad, T* to, int64_t count, float least) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    float out[N], of[N];
    load<T, N>(output + at, out);
    load<T, N>(grad + at, of);
#pragma unroll
    for (int i = 0; i < N; i++) of[i] = through(of[i], out[i], least);
    store<T, N>(to + at, of);
}

template <typename T, int N>
__device__ __forceinline__ void add(const T* a, const T* b, T* to, int64_t count) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    float left[N], right[N];
    load<T, N>(a + at, left);
    load<T, N>(b + at, right);
#pragma unroll
    for (int i = 0; i < N; i++) left[i] += right[i];
    store<T, N>(to + at, left);
}

#define OF_WIDTH(NAME, T, N, WIDTH)                                                                                    \
    extern "C" __global__ void moments_parts_##NAME##_##WIDTH(const T* input, int64_t rows, int channels,              \
                                                              float* parts) {                                         \
        moments_parts<T, N>(input, rows, channels, parts);                                                             \
    }                                                                                                                  \
    extern "C" __global__ void batch_norm_##NAME##_##WIDTH(                                                            \
        const T* input, const T* residual, const float* mean, const float* variance, const float* weight,              \
        const float* bias, T* output, int64_t count, int channels, float epsilon, float least) {                       \
        batch_norm<T, N>(input, residual, mean, variance, weight, bias, output, count, channels, epsilon, least);      \
    }                                                                                                                  \
    extern "C" __global__ void gradient_parts_##NAME##_##WIDTH(const T* input, const T* output, const T* grad,         \
                                                               const float* mean, int64_t rows, int channels,          \
                                                               float least, float* parts) {                           \
        gradient_parts<T, N>(input, output, grad, mean, rows, channels, least, parts);                                 \
    }                                                                                                                  \
    extern "C" __global__ void norm_input_##NAME##_##WIDTH(                                                            \
        const T* input, const T* output, const T* grad, const float* mean, const float* variance,                      \
        const float* weight, const float* sums, T* of_input, T* of_residual, int64_t count, int channels,              \
        float epsilon, float least, float one_over_rows) {                                                             \
        norm_input<T, N>(input, output, grad, mean, variance, weight, sums, of_input, of_residual, count, channels,    \
                         epsilon, least, one_over_rows);                                                               \
    }                                                                                                                  \
    extern "C" __global__ void add_bias_##NAME##_##WIDTH(const T* input, const float* bias, T* output, int64_t count,  \
                                                         int channels, float least) {                                  \
        add_bias<T, N>(input, bias, output, count, channels, least);                                                   \
    }                                                                                                                  \
    extern "C" __global__ void add_##NAME##_##WIDTH(const T* a, const T* b, T* to, int64_t count) {                    \
        add<T, N>(a, b, to, count);                                                                                    \
    }                                                                                                                  \
    extern "C" __global__ void cut_##NAME##_##WIDTH(const T* output, const T* grad, T* to, int64_t count,              \
                                                    float least) {                                                     \
        cut<T, N>(output, grad, to, count, least);                                                                     \
    }

#define INSTANCE(NAME, T, N)                                                                                           \
    OF_WIDTH(NAME, T, N, wide)                                                                                         \
    OF_WIDTH(NAME, T, 1, one)                                                                                          \
    extern "C" __global__ void moments_whole_##NAME(const T* input, const float* parts, int count, int64_t rows,       \
                                                    int channels, float* mean, float* variance) {                      \
        moments_whole<T>(input, parts, count, rows, channels, mean, variance);                                         \
    }

FOR_TYPES(INSTANCE)
