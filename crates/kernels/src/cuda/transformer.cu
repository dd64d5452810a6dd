// Layer normalisation, and what attention does beside its products.
#include "vectors.cuh"

// The row that a warp works on.
__device__ __forceinline__ int64_t row_of_warp() { return (int64_t)blockIdx.x * blockDim.y + threadIdx.y; }

// The mean of a row and one over its standard deviation.
template <typename T, int N>
__device__ __forceinline__ void moments_of_row(const T* row, int channels, float epsilon, float* mean, float* inverse) {
    float sum = 0.0f, squares = 0.0f, value[N];
    for (int at = threadIdx.x * N; at < channels; at += 32 * N) {
        load<T, N>(row + at, value);
#pragma unroll
        for (int i = 0; i < N; i++) sum += value[i];
    }
    float middle = sum_of_warp(sum) / channels;
    for (int at = threadIdx.x * N; at < channels; at += 32 * N) {
        load<T, N>(row + at, value);
#pragma unroll
        for (int i = 0; i < N; i++) squares += (value[i] - middle) * (value[i] - middle);
    }
    *mean = middle;
    *inverse = rsqrtf(sum_of_warp(squares) / channels + epsilon);
}

// A warp for each row.
template <typename T, int N>
__device__ __forceinline__ void layer_norm(const T* input, const float* weight, const float* bias, T* output,
                                           int64_t rows, int channels, float epsilon) {
    int64_t row = row_of_warp();
    if (row >= rows) return;
    float mean, inverse, value[N];
    moments_of_row<T, N>(input + row * channels, channels, epsilon, &mean, &inverse);
    for (int at = threadIdx.x * N; at < channels; at += 32 * N) {
        load<T, N>(input + row * channels + at, value);
#pragma unroll
        for (int i = 0; i < N; i++) value[i] = (value[i] - mean) * inverse * weight[at + i] + bias[at + i];
        store<T, N>(output + row * channels + at, value);
    }
}

// The gradient of the input, a warp for each row; the mean and one over the deviation of each row go to moments[rows][2].
template <typename T, int N>
__device__ __forceinline__ void layer_norm_input(const T* input, const T* grad, const float* weight, T* of_input,
                                                 float* moments, int64_t rows, int channels, float epsilon) {
    int64_t row = row_of_warp();
    if (row >= rows) return;
    const T *values = input + row * channels, *grads = grad + row * channels;
    float mean, inverse, value[N], of[N];
    moments_of_row<T, N>(values, channels, epsilon, &mean, &inverse);
    if (threadIdx.x == 0) {
        moments[2 * row] = mean;
        moments[2 * row + 1] = inverse;
    }
    float along = 0.0f, whole = 0.0f;
    for (int at = threadIdx.x * N; at < channels; at += 32 * N) {
        load<T, N>(values + at, value);
        load<T, N>(grads + at, of);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float weighed = of[i] * weight[at + i];
            along += weighed * (value[i] - mean) * inverse;
            whole += weighed;
        }
    }
    along = sum_of_warp(along) / channels;
    whole = sum_of_warp(whole) / channels;
    for (int at = threadIdx.x * N; at < channels; at += 32 * N) {
        load<T, N>(values + at, value);
        load<T, N>(grads + at, of);
#pragma unroll
        for (int i = 0; i < N; i++)
            value[i] = (of[i] * weight[at + i] - whole - (value[i] - mean) * inverse * along) * inverse;
        store<T, N>(of_input + row * channels + at, value);
    }
}

// Partial sums of the gradients of weight and bias: parts[part][2][channels].
template <typename T, int N>
__device__ __forceinline__ void layer_norm_parts(const T* input, const T* grad, const float* moments, int64_t rows,
                                                 int channels, float* parts) {
    sum_rows<N>(rows, channels, parts, [&](int64_t row, int channel, float (&of_weight)[N], float (&of_bias)[N]) {
        float value[N], of[N], mean = moments[2 * row], inverse = moments[2 * row + 1];
        load<T, N>(input + row * channels + channel, value);
        load<T, N>(grad + row * channels + channel, of);
#pragma unroll
        for (int i = 0; i < N; i++) {
            of_weight[i] += of[i] * (value[i] - mean) * inverse;
            of_bias[i] += of[i];
        }
    });
}

// (batch, tokens, parts, heads, dim) as (parts, batch, heads, tokens, dim).
template <typename T, int N>
__device__ __forceinline__ void heads_apart(const T* from, T* to, int64_t count, int batch, int tokens, int parts,
                                            int heads, int dim) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int64_t rest = at / dim;
    int place = at % dim, token = rest % tokens;
    rest /= tokens;
    int head = rest % heads;
    rest /= heads;
    int image = rest % batch, part = rest / batch;
    float value[N];
    load<T, N>(from + ((((int64_t)image * tokens + token) * parts + part) * heads + head) * dim + place, value);
    store<T, N>(to + at, value);
}

// As many tensors (batch, heads, tokens, dim) as there are parts, at most three, as (batch, tokens, parts, heads, dim).
template <typename T, int N>
__device__ __forceinline__ void heads_together(const T* first, const T* second, const T* third, T* to, int64_t count,
                                               int tokens, int parts, int heads, int dim) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int64_t rest = at / dim;
    int place = at % dim, head = rest % heads;
    rest /= heads;
    int part = rest % parts;
    rest /= parts;
    int token = rest % tokens;
    int64_t image = rest / tokens;
    const T* from = part == 0 ? first : part == 1 ? second : third;
    float value[N];
    load<T, N>(from + ((image * heads + head) * tokens + token) * dim + place, value);
    store<T, N>(to + at, value);
}

// Scores become shares: the softmax of each row times `scale`. A warp for each row.
template <typename T>
__device__ __forceinline__ void softmax(T* scores, int64_t rows, int columns, float scale) {
    int64_t row = row_of_warp();
    if (row >= rows) return;
    T* values = scores + row * columns;
    float most = -INFINITY, sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += 32) most = fmaxf(most, wide(values[i]));
    most = most_of_warp(most);
    for (int i = threadIdx.x; i < columns; i += 32) sum += expf((wide(values[i]) - most) * scale);
    float share = 1.0f / sum_of_warp(sum);
    for (int i = threadIdx.x; i < columns; i += 32)
        values[i] = narrow<T>(expf((wide(values[i]) - most) * scale) * share);
}

// The gradients of shares become those of scores: p (dp - sum of p dp) scale. A warp for each row.
template <typename T>
__device__ __forceinline__ void softmax_gradient(const T* shares, T* gradients, int64_t rows, int columns,
                                                 float scale) {
    int64_t row = row_of_warp();
    if (row >= rows) return;
    const T* share = shares + row * columns;
    T* of = gradients + row * columns;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += 32) sum += wide(share[i]) * wide(of[i]);
    sum = sum_of_warp(sum);
    for (int i = threadIdx.x; i < columns; i += 32)
        of[i] = narrow<T>(wide(share[i]) * (wide(of[i]) - sum) * scale);
}

#define OF_WIDTH(NAME, T, N, WIDTH)                                                                                    \
    extern "C" __global__ void layer_norm_##NAME##_##WIDTH(const T* input, const float* weight, const float* bias,     \
                                                           T* output, int64_t rows, int channels, float epsilon) {     \
        layer_norm<T, N>(input, weight, bias, output, rows, channels, epsilon);                                        \
    }                                                                                                                  \
    extern "C" __global__ void layer_norm_input_##NAME##_##WIDTH(const T* input, const T* grad, const float* weight,   \
                                                                 T* of_input, float* moments, int64_t rows,            \
                                                                 int channels, float epsilon) {                       \
        layer_norm_input<T, N>(input, grad, weight, of_input, moments, rows, channels, epsilon);                       \
    }                                                                                                                  \
    extern "C" __global__ void layer_norm_parts_##NAME##_##WIDTH(const T* input, const T* grad, const float* moments,  \
                                                                 int64_t rows, int channels, float* parts) {           \
        layer_norm_parts<T, N>(input, grad, moments, rows, channels, parts);                                           \
    }                                                                                                                  \
    extern "C" __global__ void heads_apart_##NAME##_##WIDTH(const T* from, T* to, int64_t count, int batch,            \
                                                            int tokens, int parts, int heads, int dim) {               \
        heads_apart<T, N>(from, to, count, batch, tokens, parts, heads, dim);                                          \
    }                                                                                                                  \
    extern "C" __global__ void heads_together_##NAME##_##WIDTH(const T* first, const T* second, const T* third,        \
                                                               T* to, int64_t count, int tokens, int parts,            \
                                                               int heads, int dim) {                                   \
        heads_together<T, N>(first, second, third, to, count, tokens, parts, heads, dim);                              \
    }

#define INSTANCE(NAME, T, N)                                                                                           \
    OF_WIDTH(NAME, T, N, wide)                                                                                         \
    OF_WIDTH(NAME, T, 1, one)                                                                                          \
    extern "C" __global__ void softmax_##NAME(T* scores, int64_t rows, int columns, float scale) {                     \
        softmax<T>(scores, rows, columns, scale);                                                                      \
    }                                                                                                                  \
    extern "C" __global__ void softmax_gradient_##NAME(const T* shares, T* gradients, int64_t rows, int columns,       \
                                                       float scale) {                                                  \
        softmax_gradient<T>(shares, gradients, rows, columns, scale);                                                  \
    }

FOR_TYPES(INSTANCE)
