// Images (batch, height, width, channels): pooling, means of pixels, and what convolutions need around them.
#include "vectors.cuh"

struct Window {
    int height, width, channels;   // of the input
    int rows, columns;             // of the output
    int kernel, stride, padding;
};

template <typename T, int N>
__device__ __forceinline__ void max_pool(const T* input, T* output, int64_t count, Window w) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % w.channels;
    int64_t pixel = at / w.channels;
    int x = pixel % w.columns, y = pixel / w.columns % w.rows;
    const T* image = input + pixel / w.columns / w.rows * w.height * w.width * w.channels + channel;
    float most[N];
#pragma unroll
    for (int i = 0; i < N; i++) most[i] = -INFINITY;
    for (int dy = 0; dy < w.kernel; dy++) {
        int from_y = y * w.stride - w.padding + dy;
        if (from_y < 0 || from_y >= w.height) continue;
        for (int dx = 0; dx < w.kernel; dx++) {
            int from_x = x * w.stride - w.padding + dx;
            if (from_x < 0 || from_x >= w.width) continue;
            float value[N];
            load<T, N>(image + ((int64_t)from_y * w.width + from_x) * w.channels, value);
#pragma unroll
            for (int i = 0; i < N; i++)
                if (value[i] > most[i] || isnan(value[i])) most[i] = value[i];
        }
    }
    store<T, N>(output + at, most);
}

// Each input collects from the windows whose first maximum it is.
template <typename T, int N>
__device__ __forceinline__ void max_pool_gradient(const T* input, const T* output, const T* grad, T* to, int64_t count,
                                                  Window w) {
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (at >= count) return;
    int channel = at % w.channels;
    int64_t pixel = at / w.channels;
    int x = pixel % w.width, y = pixel / w.width % w.height;
    int64_t number = pixel / w.width / w.height;
    const T* image = input + number * w.height * w.width * w.channels + channel;
    int64_t outputs = number * w.rows * w.columns * w.channels + channel;
    float own[N], sum[N] = {};
    load<T, N>(input + at, own);
    int last_row = min((y + w.padding) / w.stride, w.rows - 1);
    int last_column = min((x + w.padding) / w.stride, w.columns - 1);
    int first_row = max(0, (y + w.padding - w.kernel + w.stride) / w.stride);
    int first_column = max(0, (x + w.padding - w.kernel + w.stride) / w.stride);
    for (int row = first_row; row <= last_row; row++)
        for (int column = first_column; column <= last_column; column++) {
            int64_t place = outputs + ((int64_t)row * w.columns + column) * w.channels;
            float most[N], of[N];
            bool mine[N];
            load<T, N>(output + place, most);
            load<T, N>(grad + place, of);
#pragma unroll
            for (int i = 0; i < N; i++) mine[i] = own[i] == most[i] || isnan(own[i]);
            // Whether an earlier pixel of the window has it already.
            int top = row * w.stride - w.padding, left = column * w.stride - w.padding;
            for (int from_y = max(top, 0); from_y <= y; from_y++)
                for (int from_x = max(left, 0); from_x < min(left + w.kernel, w.width); from_x++) {
                    if (from_y == y && from_x >= x) break;
                    float value[N];
                    load<T, N>(image + ((int64_t)from_y * w.width + from_x) * w.channels, value);
#pragma unroll
                    for (int i = 0; i < N; i++)
                        if (value[i] == most[i] || isnan(value[i])) mine[i] = false;
                }
#pragma unroll
            for (int i = 0; i < N; i++)
                if (mine[i]) sum[i] += of[i];
        }
    store<T, N>(to + at, sum);
}

// One warp for each pack of 32 channels of an image.
template <typename T>
__device__ __forceinline__ void mean_of_pixels(const T* input, T* output, int pixels, int channels) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    const T* image = input + (int64_t)blockIdx.y * pixels * channels + channel;
    float sum = 0.0f;
    for (int pixel = 0; pixel < pixels; pixel++) sum += wide(image[(int64_t)pixel * channels]);
    output[(int64_t)blockIdx.y * channels + channel] = narrow<T>(sum / pixels);
}

template <typename T>
__device__ __forceinline__ void mean_of_pixels_gradient(const T* grad, T* to, int64_t count, int pixels, int channels) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    int64_t image = at / ((int64_t)pixels * channels);
    to[at] = narrow<T>(wide(grad[image * channels + at % channels]) / pixels);
}

// Rows of `channels` values as rows of `padded`, the rest zero; or the other way where `padded` is the smaller.
template <typename T>
__device__ __forceinline__ void pad_channels(const T* input, T* output, int64_t count, int channels, int padded) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    int channel = at % padded;
    output[at] = channel < channels ? input[at / padded * channels + channel] : narrow<T>(0.0f);
}

// Parameters (to, from, area) as kernels with their channels together: (to, area, padded).
template <typename T>
__device__ __forceinline__ void kernel_in(const float* parameter, T* kernel, int64_t count, int from, int area,
                                          int padded) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    int channel = at % padded;
    int tap = at / padded % area;
    int64_t to = at / padded / area;
    kernel[at] = narrow<T>(channel < from ? parameter[(to * from + channel) * area + tap] : 0.0f);
}

// Gradients of kernels as gradients of parameters.
template <typename T>
__device__ __forceinline__ void kernel_out(const T* kernel, float* parameter, int64_t count, int from, int area,
                                           int padded) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    int tap = at % area;
    int channel = at / area % from;
    int64_t to = at / area / from;
    parameter[at] = wide(kernel[(to * area + tap) * padded + channel]);
}

#define OF_WIDTH(NAME, T, N, WIDTH)                                                                                    \
    extern "C" __global__ void max_pool_##NAME##_##WIDTH(const T* input, T* output, int64_t count, int height,         \
                                                         int width, int channels, int rows, int columns, int kernel,   \
                                                         int stride, int padding) {                                    \
        max_pool<T, N>(input, output, count, {height, width, channels, rows, columns, kernel, stride, padding});       \
    }                                                                                                                  \
    extern "C" __global__ void max_pool_gradient_##NAME##_##WIDTH(                                                     \
        const T* input, const T* output, const T* grad, T* to, int64_t count, int height, int width, int channels,     \
        int rows, int columns, int kernel, int stride, int padding) {                                                  \
        max_pool_gradient<T, N>(input, output, grad, to, count,                                                        \
                                {height, width, channels, rows, columns, kernel, stride, padding});                    \
    }

#define INSTANCE(NAME, T, N)                                                                                           \
    OF_WIDTH(NAME, T, N, wide)                                                                                         \
    OF_WIDTH(NAME, T, 1, one)                                                                                          \
    extern "C" __global__ void mean_of_pixels_##NAME(const T* input, T* output, int pixels, int channels) {            \
        mean_of_pixels<T>(input, output, pixels, channels);                                                            \
    }                                                                                                                  \
    extern "C" __global__ void mean_of_pixels_gradient_##NAME(const T* grad, T* to, int64_t count, int pixels,         \
                                                              int channels) {                                          \
        mean_of_pixels_gradient<T>(grad, to, count, pixels, channels);                                                 \
    }                                                                                                                  \
    extern "C" __global__ void pad_channels_##NAME(const T* input, T* output, int64_t count, int channels,             \
                                                   int padded) {                                                       \
        pad_channels<T>(input, output, count, channels, padded);                                                       \
    }                                                                                                                  \
    extern "C" __global__ void kernel_in_##NAME(const float* parameter, T* kernel, int64_t count, int from, int area,  \
                                                int padded) {                                                          \
        kernel_in<T>(parameter, kernel, count, from, area, padded);                                                    \
    }                                                                                                                  \
    extern "C" __global__ void kernel_out_##NAME(const T* kernel, float* parameter, int64_t count, int from, int area, \
                                                 int padded) {                                                         \
        kernel_out<T>(kernel, parameter, count, from, area, padded);                                                   \
    }

FOR_TYPES(INSTANCE)
