/* What the parts of links.c share: vectors, the plan of a layer, and the scratch of a call. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef VECTOR_BYTES /* where the machine's vectors are shorter, the compiler divides these */
#ifdef __AVX512F__
#define VECTOR_BYTES 64
#else
#define VECTOR_BYTES 32
#endif
#endif
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define MOST_OUTPUTS 4
#define MOST_VECTORS 4
#define MOST_ROWS 8
#define CHUNK 64 /* rows whose basis values are held at a time */
#define UNROLL _Pragma("GCC unroll 8")
#define INLINE static inline __attribute__((always_inline))

typedef REAL vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL half_vec __attribute__((vector_size(VECTOR_BYTES / 2), aligned(sizeof(REAL)), may_alias));
typedef REAL quarter_vec __attribute__((vector_size(VECTOR_BYTES / 4), aligned(sizeof(REAL)), may_alias));

enum kind { POLYNOMIAL, PIECEWISE, FOURIER, IDENTITY };

typedef struct {
    int64_t kind, is_product, num_inputs, num_outputs, num_values, num_rows, segments, stride;
    const REAL *nodes, *factors;
} Plan;

typedef struct {
    REAL *x, *values, *slopes, *left, *right, *left_slope, *right_slope, *grad, *products, *spread;
    int32_t *first;
} Scratch;

static int64_t padded(int64_t num_outputs) { return (num_outputs + LANES - 1) / LANES * LANES; }

static void *allocate(int64_t count, int64_t size) {
    int64_t bytes = (count * size + 63) / 64 * 64;
    return aligned_alloc(64, bytes ? bytes : 64);
}

/* Whether the layer has so few outputs that rows, not outputs, lie side by side. */
static int is_narrow(const Plan *p) {
    return !p->is_product && p->num_outputs <= MOST_OUTPUTS && p->num_rows <= 4 * p->num_values;
}

/* Whether values are spread over all V rows of their input, so that the rows of the batch share what they weigh. */
static int is_spread(const Plan *p) {
    return p->kind == PIECEWISE && !p->is_product && (is_narrow(p) || p->num_rows <= 2 * p->num_values);
}

static int open_scratch(const Plan *p, Scratch *s) {
    int64_t in = p->num_inputs, n = p->num_values, width = padded(p->num_outputs);
    s->x = allocate(in * CHUNK, sizeof(REAL));
    s->values = allocate(in * n * CHUNK, sizeof(REAL));
    s->slopes = allocate(in * n * CHUNK, sizeof(REAL));
    s->left = allocate(n * CHUNK, sizeof(REAL));
    s->right = allocate(n * CHUNK, sizeof(REAL));
    s->left_slope = allocate(n * CHUNK, sizeof(REAL));
    s->right_slope = allocate(n * CHUNK, sizeof(REAL));
    s->grad = allocate(CHUNK * width, sizeof(REAL));
    s->products = allocate(p->is_product ? 2 * in * MOST_VECTORS : 0, VECTOR_BYTES);
    s->spread = allocate(is_spread(p) ? in * p->num_rows * CHUNK : 0, sizeof(REAL));
    s->first = allocate(in * CHUNK, sizeof(int32_t));
    return s->x && s->values && s->slopes && s->left && s->right && s->left_slope && s->right_slope && s->grad &&
           s->products && s->spread && s->first;
}

static void close_scratch(Scratch *s) {
    free(s->x), free(s->values), free(s->slopes), free(s->left), free(s->right), free(s->left_slope);
    free(s->right_slope), free(s->grad), free(s->products), free(s->spread), free(s->first);
}

/* Values [in, n, CHUNK] at their rows of [in, V, CHUNK]; where is_spread says no, as they are. */
static const REAL *spread(const Plan *p, const Scratch *s, const REAL *values, REAL *all) {
    int64_t in = p->num_inputs, n = p->num_values, num_rows = p->num_rows;
    if (!is_spread(p)) return values;
    memset(all, 0, in * num_rows * CHUNK * sizeof(REAL));
    for (int64_t i = 0; i < in; i++) {
        const int32_t *first = s->first + i * CHUNK;
        for (int32_t segment = 0; segment < p->segments; segment++) {
            int32_t start = segment * (int32_t)p->stride;
            for (int64_t k = 0; k < n; k++) {
                const REAL *from = values + (i * n + k) * CHUNK;
                REAL *to = all + (i * num_rows + start + k) * CHUNK;
                for (int r = 0; r < CHUNK; r++) to[r] += first[r] == start ? from[r] : 0;
            }
        }
    }
    return all;
}

/* The sum of a vector's lanes, by halves. */
INLINE REAL sum_lanes(const vec *lanes) {
    const half_vec *halves = (const half_vec *)lanes;
    half_vec half = halves[0] + halves[1];
#if VECTOR_BYTES == 64
    const quarter_vec *quarters = (const quarter_vec *)&half;
    quarter_vec quarter = quarters[0] + quarters[1];
    const REAL *e = (const REAL *)&quarter;
    const int count = LANES / 4;
#else
    const REAL *e = (const REAL *)&half;
    const int count = LANES / 2;
#endif
    return e[0] + e[count / 2] + (count == 4 ? e[1] + e[3 % count] : 0);
}
