/* Structural similarity of two pictures [height, width, channels], summed over channels and windows; `ssim` of quality.py
 * says where the numbers come from. A row of windows at a time: first down the columns, then along the row, with all
 * channels side by side. `rows` has room for ten. */

#include <stdint.h>
#include <string.h>

#define C1 (0.01f * 0.01f)
#define C2 (0.03f * 0.03f)

static float likeness(float a, float b, float aa, float bb, float ab) {
    float covariance = ab - a * b, variances = aa - a * a + bb - b * b;
    return (2 * a * b + C1) * (2 * covariance + C2) / ((a * a + b * b + C1) * (variances + C2));
}

static void blur_down(const float *restrict a, const float *restrict b, int64_t row, const float *window, int64_t size,
                      float *restrict ma, float *restrict mb, float *restrict aa, float *restrict bb, float *restrict ab) {
    for (int64_t k = 0; k < size; k++, a += row, b += row) {
        float weight = window[k];
        for (int64_t x = 0; x < row; x++) {
            float p = weight * a[x], q = weight * b[x];
            ma[x] += p, mb[x] += q, aa[x] += p * a[x], bb[x] += q * b[x], ab[x] += p * b[x];
        }
    }
}

static void blur_along(const float *restrict map, int64_t inner, int64_t channels, const float *window, int64_t size,
                       float *restrict blurred) {
    for (int64_t k = 0; k < size; k++, map += channels)
        for (int64_t x = 0; x < inner; x++) blurred[x] += window[k] * map[x];
}

double ssim(const float *a, const float *b, int64_t height, int64_t width, int64_t channels, const float *window,
            int64_t size, float *rows) {
    int64_t row = width * channels, inner = (width - size + 1) * channels;
    const float *m = rows + 5 * row;
    double sum = 0;
    for (int64_t y = 0; y + size <= height; y++) {
        memset(rows, 0, 10 * row * sizeof(float));
        blur_down(a + y * row, b + y * row, row, window, size, rows, rows + row, rows + 2 * row, rows + 3 * row, rows + 4 * row);
        for (int64_t map = 0; map < 5; map++) blur_along(rows + map * row, inner, channels, window, size, rows + (5 + map) * row);
        for (int64_t x = 0; x < inner; x++)
            rows[x] = likeness(m[x], m[row + x], m[2 * row + x], m[3 * row + x], m[4 * row + x]);
        for (int64_t x = 0; x < inner; x++) sum += (double)rows[x];
    }
    return sum;
}
