/* The basis functions' values and slopes: for every input, CHUNK rows of the batch side by side. */

#pragma once

#include "layout.h"

#define MOST_FEW 5

/* So few nodes that everything stays in registers. */
INLINE void lagrange_few(const Plan *p, const REAL *local, const REAL *scale, REAL *values, REAL *slopes, int n) {
    REAL nodes[MOST_FEW], factors[MOST_FEW];
    memcpy(nodes, p->nodes, n * sizeof(REAL)), memcpy(factors, p->factors, n * sizeof(REAL));
    for (int g = 0; g < GROUPS; g++) {
        vec x = ((const vec *)local)[g], by = ((const vec *)scale)[g], l[MOST_FEW], q[MOST_FEW], ls[MOST_FEW], qs[MOST_FEW];
        l[0] = q[0] = (vec){0} + (REAL)1, ls[0] = qs[0] = (vec){0};
        UNROLL for (int m = 0; m + 1 < n; m++) {
            vec a = 2 * (x - nodes[m]), b = 2 * (x - nodes[n - 1 - m]);
            l[m + 1] = l[m] * a, q[m + 1] = q[m] * b;
            ls[m + 1] = ls[m] * a + 2 * l[m], qs[m + 1] = qs[m] * b + 2 * q[m];
        }
        UNROLL for (int j = 0; j < n; j++) {
            ((vec *)(values + j * CHUNK))[g] = l[j] * q[n - 1 - j] * factors[j];
            if (slopes) ((vec *)(slopes + j * CHUNK))[g] = (ls[j] * q[n - 1 - j] + l[j] * qs[n - 1 - j]) * factors[j] * by;
        }
    }
}

static void lagrange_many(const Plan *p, Scratch *s, const REAL *local, const REAL *scale, REAL *values, REAL *slopes) {
    int64_t n = p->num_values;
    REAL *left = s->left, *right = s->right, *dl = s->left_slope, *dr = s->right_slope;
    for (int r = 0; r < CHUNK; r++) left[r] = right[r] = 1, dl[r] = dr[r] = 0;
    for (int64_t m = 0; m + 1 < n; m++) {
        REAL a = p->nodes[m], b = p->nodes[n - 1 - m];
        REAL *l = left + m * CHUNK, *q = right + m * CHUNK;
        for (int r = 0; r < CHUNK; r++) {
            l[CHUNK + r] = l[r] * (2 * (local[r] - a));
            q[CHUNK + r] = q[r] * (2 * (local[r] - b));
        }
        if (!slopes) continue;
        REAL *ls = dl + m * CHUNK, *qs = dr + m * CHUNK;
        for (int r = 0; r < CHUNK; r++) {
            ls[CHUNK + r] = ls[r] * (2 * (local[r] - a)) + 2 * l[r];
            qs[CHUNK + r] = qs[r] * (2 * (local[r] - b)) + 2 * q[r];
        }
    }
    for (int64_t j = 0; j < n; j++) {
        const REAL *l = left + j * CHUNK, *q = right + (n - 1 - j) * CHUNK, f = p->factors[j];
        for (int r = 0; r < CHUNK; r++) values[j * CHUNK + r] = l[r] * q[r] * f;
        if (!slopes) continue;
        const REAL *ls = dl + j * CHUNK, *qs = dr + (n - 1 - j) * CHUNK;
        for (int r = 0; r < CHUNK; r++) slopes[j * CHUNK + r] = (ls[r] * q[r] + l[r] * qs[r]) * f * scale[r];
    }
}

static void lagrange(const Plan *p, Scratch *s, const REAL *local, const REAL *scale, REAL *values, REAL *slopes) {
    switch (p->num_values) {
        case 2: lagrange_few(p, local, scale, values, slopes, 2); break;
        case 3: lagrange_few(p, local, scale, values, slopes, 3); break;
        case 4: lagrange_few(p, local, scale, values, slopes, 4); break;
        case 5: lagrange_few(p, local, scale, values, slopes, 5); break;
        default: lagrange_many(p, s, local, scale, values, slopes);
    }
}

static void piecewise(const Plan *p, Scratch *s, const REAL *x, int32_t *first, REAL *values, REAL *slopes) {
    REAL local[CHUNK], scale[CHUNK], segments = (REAL)p->segments, last = segments - 1;
    for (int r = 0; r < CHUNK; r++) {
        REAL position = ((x[r] + 1) / 2) * segments;
        position = position > 0 ? position : 0; /* NaN too */
        int32_t segment = (int32_t)(position < last ? position : last);
        REAL low = (REAL)segment / segments * 2 - 1, high = (REAL)(segment + 1) / segments * 2 - 1;
        first[r] = segment * (int32_t)p->stride;
        local[r] = 2 * ((x[r] - low) / (high - low)) - 1;
        scale[r] = 2 / (high - low);
    }
    lagrange(p, s, local, scale, values, slopes);
}

/* sin and cos of pi x by reduction to an eighth of a turn and Taylor's series, to double precision. */
INLINE void turn(double x, double *sine, double *cosine) {
    double y = x - 2 * rint(x / 2), quarter = rint(2 * y), a = (y - quarter / 2) * M_PI, a2 = a * a;
    double s = -1.0 / 1307674368000.0 + a2 / 355687428096000.0;
    s = 1.0 / 6227020800.0 + a2 * s, s = -1.0 / 39916800.0 + a2 * s, s = 1.0 / 362880.0 + a2 * s;
    s = -1.0 / 5040.0 + a2 * s, s = 1.0 / 120.0 + a2 * s, s = -1.0 / 6.0 + a2 * s, s = a + a * a2 * s;
    double c = -1.0 / 87178291200.0 + a2 / 20922789888000.0;
    c = 1.0 / 479001600.0 + a2 * c, c = -1.0 / 3628800.0 + a2 * c, c = 1.0 / 40320.0 + a2 * c;
    c = -1.0 / 720.0 + a2 * c, c = 1.0 / 24.0 + a2 * c, c = -0.5 + a2 * c, c = 1 + a2 * c;
    int odd = quarter == 1 || quarter == -1, half = quarter == 2 || quarter == -2;
    double u = odd ? c : s, v = odd ? s : c;
    *sine = quarter == -1 || half ? -u : u;
    *cosine = quarter == 1 || half ? -v : v;
}

/* Higher frequencies by turning on and on, in double precision, so that the last is as exact as the first. */
static void fourier(const Plan *p, const REAL *x, REAL *values, REAL *slopes) {
    double s1[CHUNK], c1[CHUNK], s[CHUNK], c[CHUNK];
    int64_t n = p->num_values;
    for (int r = 0; r < CHUNK; r++) {
        values[r] = (REAL)0.5 + 0 * x[r];
        turn(x[r], s1 + r, c1 + r);
        s[r] = s1[r], c[r] = c1[r];
    }
    if (slopes) for (int r = 0; r < CHUNK; r++) slopes[r] = 0;
    for (int64_t j = 1; j < n; j += 2) {
        double rate = M_PI * (double)((j + 1) / 2);
        REAL *v = values + j * CHUNK, *d = slopes ? slopes + j * CHUNK : 0;
        for (int r = 0; r < CHUNK; r++) v[r] = (REAL)s[r];
        if (d) for (int r = 0; r < CHUNK; r++) d[r] = (REAL)(rate * c[r]);
        if (j + 1 == n) break;
        for (int r = 0; r < CHUNK; r++) v[CHUNK + r] = (REAL)c[r];
        if (d) for (int r = 0; r < CHUNK; r++) d[CHUNK + r] = (REAL)(-rate * s[r]);
        if (j + 2 == n) break;
        for (int r = 0; r < CHUNK; r++) {
            double sine = s[r] * c1[r] + c[r] * s1[r];
            c[r] = c[r] * c1[r] - s[r] * s1[r];
            s[r] = sine;
        }
    }
}

static void expand(const Plan *p, Scratch *s, const REAL *x, int64_t rows, int with_slopes) {
    int64_t in = p->num_inputs, n = p->num_values;
    REAL one[CHUNK];
    for (int r = 0; r < CHUNK; r++) one[r] = 1;
    for (int64_t i = 0; i < in; i++) {
        REAL *column = s->x + i * CHUNK, *values = s->values + i * n * CHUNK;
        REAL *slopes = with_slopes ? s->slopes + i * n * CHUNK : 0;
        for (int64_t r = 0; r < rows; r++) column[r] = x[r * in + i];
        for (int64_t r = rows; r < CHUNK; r++) column[r] = 0;
        switch (p->kind) {
            case PIECEWISE: piecewise(p, s, column, s->first + i * CHUNK, values, slopes); break;
            case POLYNOMIAL: lagrange(p, s, column, one, values, slopes); break;
            case FOURIER: fourier(p, column, values, slopes); break;
            default:
                memcpy(values, column, CHUNK * sizeof(REAL));
                if (slopes) memcpy(slopes, one, CHUNK * sizeof(REAL));
        }
    }
}
