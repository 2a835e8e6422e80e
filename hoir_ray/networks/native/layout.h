/* What the parts of links.h share: vectors, the plan of a layer, and the scratch of a call. */

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
#define MOST_VECTORS 5
#define MOST_ROWS 8
#define CHUNK 64 /* rows whose basis values are held at a time */
#define GROUPS ((int)(CHUNK / LANES))
#define NEAR_BYTES 8192 /* a part of the nearest cache */
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
    REAL *x, *values, *slopes, *left, *right, *left_slope, *right_slope, *grad, *products, *spread, *turned, *weighed;
    int32_t *first;
} Scratch;

static int64_t padded(int64_t num_outputs) { return (num_outputs + LANES - 1) / LANES * LANES; }

/* Memory taken piece by piece from one block. Pieces are counted while there is no block yet, then taken once more. */
typedef struct {
    char *block;
    int64_t used;
} Arena;

static void *take(Arena *a, int64_t count, int64_t size) {
    void *piece = a->block ? a->block + a->used : 0;
    a->used += (count * size + 63) / 64 * 64;
    return piece;
}

/* Returns whether there is memory for what was counted. */
static int reserve(Arena *a) {
    a->block = aligned_alloc(64, a->used + 64);
    a->used = 0;
    return a->block != 0;
}

/* Whether the layer has so few outputs that rows, not outputs, lie side by side. */
static int is_narrow(const Plan *p) {
    return !p->is_product && p->num_outputs <= MOST_OUTPUTS && p->num_rows <= 4 * p->num_values;
}

/* How many numbers a row of the layer's table is apart from the next, as `join` reads it. */
static int64_t row_width(const Plan *p) { return is_narrow(p) ? p->num_outputs : padded(p->num_outputs); }

/* Whether values are spread over all V rows of their input, so that the rows of the batch share what they weigh. */
static int is_spread(const Plan *p) {
    return p->kind == PIECEWISE && !p->is_product && (is_narrow(p) || p->num_rows <= 2 * p->num_values);
}

/* Whether every row of the batch weighs all V rows of a link: then sums of many rows stay in registers. */
static int is_dense(const Plan *p) { return !p->is_product && (p->kind != PIECEWISE || is_spread(p)); }

static void take_scratch(const Plan *p, Scratch *s, Arena *a) {
    int64_t in = p->num_inputs, n = p->num_values;
    s->x = take(a, in * CHUNK, sizeof(REAL));
    s->values = take(a, in * n * CHUNK, sizeof(REAL));
    s->slopes = take(a, in * n * CHUNK, sizeof(REAL));
    s->left = take(a, n * CHUNK, sizeof(REAL));
    s->right = take(a, n * CHUNK, sizeof(REAL));
    s->left_slope = take(a, n * CHUNK, sizeof(REAL));
    s->right_slope = take(a, n * CHUNK, sizeof(REAL));
    s->grad = take(a, CHUNK * padded(p->num_outputs), sizeof(REAL));
    s->products = take(a, p->is_product ? 2 * in * MOST_VECTORS : 0, VECTOR_BYTES);
    s->spread = take(a, is_spread(p) ? in * p->num_rows * CHUNK : 0, sizeof(REAL));
    s->turned = take(a, is_dense(p) ? p->num_outputs * CHUNK : 0, sizeof(REAL));
    s->weighed = take(a, is_dense(p) ? p->num_rows * CHUNK : 0, sizeof(REAL));
    s->first = take(a, in * CHUNK, sizeof(int32_t));
}

/* Values [in, n, CHUNK] at their rows of s->spread [in, V, CHUNK], zero where they do not reach. */
static void spread(const Plan *p, Scratch *s) {
    int64_t in = p->num_inputs, n = p->num_values, stride = p->stride;
    for (int64_t i = 0; i < in; i++) {
        const int32_t *first = s->first + i * CHUNK;
        const REAL *values = s->values + i * n * CHUNK;
        for (int64_t m = 0; m < p->num_rows; m++) {
            REAL *to = s->spread + (i * p->num_rows + m) * CHUNK;
            int32_t own = (int32_t)(m / stride < p->segments ? m / stride : p->segments - 1), start = own * (int32_t)stride;
            const REAL *from = values + (m - start) * CHUNK, *border = values + (n - 1) * CHUNK;
            if (m == start && own && stride < n) { /* the last of the segment before, too */
                int32_t before = start - (int32_t)stride;
                for (int r = 0; r < CHUNK; r++) to[r] = first[r] == start ? from[r] : first[r] == before ? border[r] : 0;
            } else {
                for (int r = 0; r < CHUNK; r++) to[r] = first[r] == start ? from[r] : 0;
            }
        }
    }
}

/* The slopes of an input's links, each times what its table row weighs of the gradient: `weighed` [V, CHUNK]. */
static void sum_slopes(const Plan *p, const Scratch *s, int64_t i, const REAL *weighed, REAL *column) {
    int64_t n = p->num_values, segments = p->kind == PIECEWISE ? p->segments : 1;
    const int32_t *first = s->first + i * CHUNK;
    const REAL *slopes = s->slopes + i * n * CHUNK;
    memset(column, 0, CHUNK * sizeof(REAL));
    for (int32_t segment = 0; segment < segments; segment++) {
        int32_t start = segment * (int32_t)p->stride;
        for (int64_t k = 0; k < n; k++) {
            const REAL *slope = slopes + k * CHUNK, *by = weighed + (start + k) * CHUNK;
            if (segments == 1)
                for (int r = 0; r < CHUNK; r++) column[r] += slope[r] * by[r];
            else
                for (int r = 0; r < CHUNK; r++) column[r] += first[r] == start ? slope[r] * by[r] : 0;
        }
    }
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
