/* Rows divided by their largest magnitude, forward and backward. Compiled with -DREAL=float or double.
 *
 * Magnitudes are compared as integers, which order as they do and put NaN above infinity, so that NaN is the largest
 * as it is for torch. Of equal magnitudes the first counts, as for torch. max_abs.py has the same in plain torch. */

#include <stdint.h>
#include <string.h>

#define LANES 16

#if REAL_BITS == 64
typedef int64_t bits;
#define MAGNITUDE INT64_MAX
#else
typedef int32_t bits;
#define MAGNITUDE INT32_MAX
#endif

typedef bits __attribute__((may_alias)) row_bits;

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

void forward(const REAL *x, REAL *y, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, y += width) {
        REAL by = divisor(largest((const row_bits *)x, width), (REAL)eps);
        for (int64_t j = 0; j < width; j++) y[j] = x[j] / by;
    }
}

void backward(const REAL *x, const REAL *grad, REAL *grad_x, int64_t batch, int64_t width, double eps) {
    for (int64_t r = 0; r < batch; r++, x += width, grad += width, grad_x += width) {
        bits most = largest((const row_bits *)x, width);
        REAL by = divisor(most, (REAL)eps), sums[LANES] = {0}, sum = 0;
        int64_t j = 0, first = first_of((const row_bits *)x, width, most);
        for (; j + LANES <= width; j += LANES)
            for (int l = 0; l < LANES; l++) sums[l] += grad[j + l] * (x[j + l] / by);
        for (; j < width; j++) sum += grad[j] * (x[j] / by);
        for (int l = 0; l < LANES; l++) sum += sums[l];
        for (j = 0; j < width; j++) grad_x[j] = grad[j] / by;
        REAL sign = x[first] > 0 ? 1 : x[first] < 0 ? -1 : 0;
        grad_x[first] -= sign * (sum / by);
    }
}
