// The loss and the optimizers.
#include "vectors.cuh"

__device__ __forceinline__ float most_of_warp(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, offset));
    return value;
}

__device__ __forceinline__ float sum_of_warp(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffff, value, offset);
    return value;
}

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

// A stretch of a parameter with its gradient and state; `second` is AdamW's second moment.
struct Stretch {
    float *parameter, *gradient, *first, *second;
    int64_t count;
    float decay, unused;
};

extern "C" __global__ void adamw(const Stretch* stretches, float rate, float beta1, float beta2, float root,
                                 float epsilon, float learning_rate) {
    Stretch s = stretches[blockIdx.x];
    float keep = 1.0f - learning_rate * s.decay;
    for (int64_t i = threadIdx.x; i < s.count; i += blockDim.x) {
        float gradient = s.gradient[i];
        float first = beta1 * s.first[i] + (1.0f - beta1) * gradient;
        float second = beta2 * s.second[i] + (1.0f - beta2) * gradient * gradient;
        s.first[i] = first;
        s.second[i] = second;
        s.parameter[i] = keep * s.parameter[i] - rate * first / (sqrtf(second) * root + epsilon);
    }
}

// `kept` is the momentum, or 0 in the first step; `ahead` the momentum where the step looks ahead, else 0.
extern "C" __global__ void sgd(const Stretch* stretches, float learning_rate, float kept, float ahead) {
    Stretch s = stretches[blockIdx.x];
    for (int64_t i = threadIdx.x; i < s.count; i += blockDim.x) {
        float gradient = s.gradient[i] + s.decay * s.parameter[i];
        float velocity = kept * s.first[i] + gradient;
        s.first[i] = velocity;
        float direction = ahead > 0.0f ? gradient + ahead * velocity : velocity;
        s.parameter[i] -= learning_rate * direction;
    }
}
