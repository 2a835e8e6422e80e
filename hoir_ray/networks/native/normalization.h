/* Rows brought into [-1, 1] or to unit variance, forward and backward. normalization.py has the same in plain torch. */

#pragma once

#include "layout.h"

typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 8, (int64_t)0, (int32_t)0)) bits;
typedef bits __attribute__((may_alias)) row_bits;
#define MAGNITUDE ((bits)(((uint64_t)1 << (8 * sizeof(bits) - 1)) - 1))

/* The sum of what EACH of j is, for vectors of a row and then for its rest. */
#define SUM_OF_ROW(EACH)                                          \
    vec many = {0};                                               \
    REAL rest = 0;                                                \
    int64_t j = 0;                                                \
    for (; j + LANES <= width; j += LANES) many += EACH(vec);     \
    for (; j < width; j++) rest += EACH(REAL);                    \
    return sum_lanes(&many) + rest

#define AT(type, row) (*(const type *)((row) + j))
#define ONE(type) AT(type, a)
#define PRODUCT(type) (AT(type, a) * AT(type, b))
#define DISTANCE(type) ((AT(type, a) - centre) * (AT(type, a) - centre))

static REAL sum_row(const REAL *a, int64_t width) { SUM_OF_ROW(ONE); }
static REAL dot(const REAL *a, const REAL *b, int64_t width) { SUM_OF_ROW(PRODUCT); }
static REAL scatter(const REAL *a, REAL centre, int64_t width) { SUM_OF_ROW(DISTANCE); }

/* Magnitudes are compared as integers, which order as they do and put NaN above infinity, so that NaN is the largest as
 * it is for torch. Of equal magnitudes the first counts, as for torch. */
static bits largest(const row_bits *row, int64_t width) {
    bits most = 0;
    for (int64_t j = 0; j < width; j++) {
        bits magnitude = row[j] & MAGNITUDE;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

static int64_t first_of(const row_bits *row, int64_t width, bits most) {
    bits first = (bits)width;
    for (int64_t j = 0; j < width; j++) {
        bits here = (row[j] & MAGNITUDE) == most ? (bits)j : (bits)width;
        first = here < first ? here : first;
    }
    return first;
}

static REAL divisor(bits most, REAL eps) {
    REAL value;
    memcpy(&value, &most, sizeof value);
    return value + eps;
}

void max_abs_forward(const REAL *x, REAL *y, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width) {
        REAL by = divisor(largest((const row_bits *)x, width), (REAL)eps);
        for (int64_t j = 0; j < width; j++) y[j] = x[j] / by;
    }
}

void max_abs_backward(const REAL *x, const REAL *y, const REAL *grad, REAL *grad_x, int64_t batch, int64_t width,
                      double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width, grad += width, grad_x += width) {
        bits most = largest((const row_bits *)x, width);
        int64_t first = first_of((const row_bits *)x, width, most);
        REAL by = divisor(most, (REAL)eps), sign = (REAL)(x[first] > 0) - (REAL)(x[first] < 0);
        for (int64_t j = 0; j < width; j++) grad_x[j] = grad[j] / by;
        grad_x[first] -= sign * (dot(grad, y, width) / by);
    }
}

/* The first of a row's largest numbers, or of its smallest; a NaN comes before all, as for torch. */
static int64_t extreme(const REAL *x, int64_t width, REAL sign) {
    int64_t best = 0;
    for (int64_t j = 1; j < width && x[best] == x[best]; j++)
        if (x[j] * sign > x[best] * sign || x[j] != x[j]) best = j;
    return best;
}

static void max_center_forward(const REAL *x, REAL *y, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width) {
        REAL most = x[extreme(x, width, 1)], middle = (REAL)0.5 * (most + x[extreme(x, width, -1)]);
        REAL by = most - middle + (REAL)eps;
        for (int64_t j = 0; j < width; j++) y[j] = (x[j] - middle) / by;
    }
}

static void max_center_backward(const REAL *x, const REAL *y, const REAL *grad, REAL *grad_x, int64_t batch,
                                int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width, grad += width, grad_x += width) {
        int64_t high = extreme(x, width, 1), low = extreme(x, width, -1);
        REAL middle = (REAL)0.5 * (x[high] + x[low]), by = x[high] - middle + (REAL)eps;
        REAL to_by = -dot(grad, y, width) / by, to_middle = -sum_row(grad, width) / by - to_by;
        for (int64_t j = 0; j < width; j++) grad_x[j] = grad[j] / by;
        grad_x[high] += to_by + (REAL)0.5 * to_middle;
        grad_x[low] += (REAL)0.5 * to_middle;
    }
}

static void l2_forward(const REAL *x, REAL *y, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width) {
        REAL by = (REAL)sqrt(dot(x, x, width)) + (REAL)eps;
        for (int64_t j = 0; j < width; j++) y[j] = x[j] / by;
    }
}

static void l2_backward(const REAL *x, const REAL *grad, REAL *grad_x, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, grad += width, grad_x += width) {
        REAL length = (REAL)sqrt(dot(x, x, width)), by = length + (REAL)eps;
        REAL along = length == 0 ? 0 : dot(grad, x, width) / by / by / length; /* no slope at zero, as for torch */
        for (int64_t j = 0; j < width; j++) grad_x[j] = grad[j] / by - along * x[j];
    }
}

/* Mean, and one over the standard deviation. */
static void moments_of(const REAL *x, int64_t width, double eps, REAL *mean, REAL *scale) {
    REAL centre = sum_row(x, width) / (REAL)width;
    *mean = centre;
    *scale = 1 / (REAL)sqrt(scatter(x, centre, width) / (REAL)width + (REAL)eps);
}

static void layer_norm_forward(const REAL *x, const REAL *weight, const REAL *bias, REAL *y, int64_t batch,
                               int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width) {
        REAL mean, scale;
        moments_of(x, width, eps, &mean, &scale);
        for (int64_t j = 0; j < width; j++) y[j] = (x[j] - mean) * scale * weight[j] + bias[j];
    }
}

/* Adds to the gradients of weight and bias. `own` has room for a row. */
static void layer_norm_backward(const REAL *x, const REAL *weight, const REAL *grad, REAL *grad_x, REAL *grad_weight,
                                REAL *grad_bias, REAL *own, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, grad += width, grad_x += width) {
        REAL mean, scale, along = 0;
        moments_of(x, width, eps, &mean, &scale);
        for (int64_t j = 0; j < width; j++) {
            REAL normal = (x[j] - mean) * scale;
            grad_weight[j] += grad[j] * normal;
            grad_bias[j] += grad[j];
            own[j] = grad[j] * weight[j];
            grad_x[j] = normal;
        }
        REAL level = sum_row(own, width) / (REAL)width;
        along = dot(own, grad_x, width) / (REAL)width;
        for (int64_t j = 0; j < width; j++) grad_x[j] = scale * (own[j] - level - along * grad_x[j]);
    }
}
