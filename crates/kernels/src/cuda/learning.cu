// The loss and the optimizers.
#include "vectors.cuh"

template <typename T>
__device__ __forceinline__ float log_sum_exp(const T* row, int classes) {
    float most = -INFINITY, sum = 0.0f;
    for (int i = threadIdx.x; i < classes; i += 32) most = fmaxf(most, wide(row[i]));
    most = most_of_warp(most);
    for (int i = threadIdx.x; i < classes; i += 32) sum += expf(wide(row[i]) - most);
    return most + logf(sum_of_warp(sum));
}

// A warp for each row. A label beyond the classes gives NaN.
template <typename T>
__device__ __forceinline__ void cross_entropy(const T* logits, const uint32_t* labels, float* losses, int batch,
                                              int classes, float smoothing) {
    int number = blockIdx.x * blockDim.y + threadIdx.y;
    if (number >= batch) return;
    const T* row = logits + (int64_t)number * classes;
    float whole = log_sum_exp(row, classes), spread = 0.0f;
    for (int i = threadIdx.x; i < classes; i += 32) spread += wide(row[i]);
    spread = sum_of_warp(spread) / classes;
    uint32_t label = labels[number];
    if (threadIdx.x == 0)
        losses[number] = label < classes ? whole - (1.0f - smoothing) * wide(row[label]) - smoothing * spread : NAN;
}

template <typename T>
__device__ __forceinline__ void cross_entropy_gradient(const T* logits, const uint32_t* labels, const float* grad,
                                                       T* to, int batch, int classes, float smoothing) {
    int number = blockIdx.x * blockDim.y + threadIdx.y;
    if (number >= batch) return;
    const T* row = logits + (int64_t)number * classes;
    float whole = log_sum_exp(row, classes);
    uint32_t label = labels[number];
    for (int i = threadIdx.x; i < classes; i += 32) {
        float target = smoothing / classes + (i == label ? 1.0f - smoothing : 0.0f);
        to[(int64_t)number * classes + i] = narrow<T>((expf(wide(row[i]) - whole) - target) * grad[number]);
    }
}

#define INSTANCE(NAME, T, N)                                                                                           \
    extern "C" __global__ void cross_entropy_##NAME(const T* logits, const uint32_t* labels, float* losses, int batch, \
                                                    int classes, float smoothing) {                                    \
        cross_entropy<T>(logits, labels, losses, batch, classes, smoothing);                                           \
    }                                                                                                                  \
    extern "C" __global__ void cross_entropy_gradient_##NAME(const T* logits, const uint32_t* labels,                  \
                                                             const float* grad, T* to, int batch, int classes,         \
                                                             float smoothing) {                                        \
        cross_entropy_gradient<T>(logits, labels, grad, to, batch, classes, smoothing);                                \
    }

FOR_TYPES(INSTANCE)

// A part of a parameter with its gradient and state; `second` is AdamW's second moment.
struct Stretch {
    float *parameter, *gradient, *first, *second;
    uint32_t count;
    float decay;
    // The parameter's own share of the learning rate.
    float share;
};

struct Stretches {
    Stretch at[80];
};

// Numbers: rate, beta1, beta2, one over the root of the second correction, epsilon, learning rate.
extern "C" __global__ void adamw(const __grid_constant__ Stretches stretches, const float* numbers) {
    const Stretch& s = stretches.at[blockIdx.x];
    float rate = numbers[0] * s.share, beta1 = numbers[1], beta2 = numbers[2], root = numbers[3], epsilon = numbers[4];
    float keep = 1.0f - numbers[5] * s.share * s.decay;
    for (uint32_t i = blockIdx.y * blockDim.x + threadIdx.x; i < s.count; i += gridDim.y * blockDim.x) {
        float gradient = s.gradient[i];
        float first = beta1 * s.first[i] + (1.0f - beta1) * gradient;
        float second = beta2 * s.second[i] + (1.0f - beta2) * gradient * gradient;
        s.first[i] = first;
        s.second[i] = second;
        s.parameter[i] = keep * s.parameter[i] - rate * first / (sqrtf(second) * root + epsilon);
    }
}

// Numbers: learning rate, the share of the old velocity that is kept (none in the first step), how far the step looks
// ahead along the velocity.
extern "C" __global__ void sgd(const __grid_constant__ Stretches stretches, const float* numbers) {
    const Stretch& s = stretches.at[blockIdx.x];
    float learning_rate = numbers[0] * s.share, kept = numbers[1], ahead = numbers[2];
    for (uint32_t i = blockIdx.y * blockDim.x + threadIdx.x; i < s.count; i += gridDim.y * blockDim.x) {
        float gradient = s.gradient[i] + s.decay * s.parameter[i];
        float velocity = kept * s.first[i] + gradient;
        s.first[i] = velocity;
        float direction = ahead > 0.0f ? gradient + ahead * velocity : velocity;
        s.parameter[i] -= learning_rate * direction;
    }
}
