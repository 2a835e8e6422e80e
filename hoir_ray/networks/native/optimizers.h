/* One update of weights by their gradients, which are zero behind it. Rounded where torch rounds: products that torch
 * adds in one rounding are written as such, and decay has a loop of its own, or the compiler would do so there too. */

#pragma once

#include "layout.h"

enum optimizer { ADAM, ADAMW, LION, SPARSE_LION };

typedef struct {
    int64_t kind, steps_done; /* before the first of `rates` */
    double beta1, beta2, eps, decay;
    const double *rates; /* of each step */
} Optimizer;

INLINE REAL multiply_add(REAL a, REAL b, REAL c) {
    return sizeof(REAL) == 8 ? (REAL)__builtin_fma(a, b, c) : (REAL)__builtin_fmaf((float)a, (float)b, (float)c);
}

INLINE REAL square_root(REAL x) { return sizeof(REAL) == 8 ? (REAL)sqrt(x) : (REAL)sqrtf((float)x); }

/* torch.lerp, which starts from the nearer end. */
INLINE REAL between(REAL start, REAL end, REAL share) {
    return share < (REAL)0.5 ? multiply_add(share, end - start, start) : multiply_add(share - 1, end - start, end);
}

INLINE REAL sign_of(REAL x) { return (REAL)(x > 0) - (REAL)(x < 0); } /* of NaN zero, as for torch */

static void decay(REAL *weights, int64_t count, REAL keep) {
    for (int64_t i = 0; i < count; i++) weights[i] *= keep;
}

static void adam(const Optimizer *o, REAL *restrict w, REAL *restrict m, REAL *restrict v, REAL *restrict g,
                 int64_t count, int64_t step) {
    double number = (double)(o->steps_done + step + 1);
    REAL rate = (REAL)(-o->rates[step] / (1 - pow(o->beta1, number))), root = (REAL)sqrt(1 - pow(o->beta2, number));
    REAL share = (REAL)(1 - o->beta1), keep = (REAL)o->beta2, fresh = (REAL)(1 - o->beta2), eps = (REAL)o->eps;
    for (int64_t i = 0; i < count; i++) {
        REAL moment = between(m[i], g[i], share), square = multiply_add(fresh * g[i], g[i], v[i] * keep);
        w[i] += rate * moment / (square_root(square) / root + eps);
        m[i] = moment, v[i] = square, g[i] = 0;
    }
}

static void lion(const Optimizer *o, REAL *restrict w, REAL *restrict m, REAL *restrict g, int64_t count, int64_t step) {
    REAL rate = (REAL)o->rates[step], share = (REAL)(1 - o->beta1), fresh = (REAL)(1 - o->beta2);
    for (int64_t i = 0; i < count; i++) {
        w[i] -= rate * sign_of(between(m[i], g[i], share));
        m[i] = between(m[i], g[i], fresh), g[i] = 0;
    }
}

/* Leaves alone every weight whose gradient is exactly zero; see sparse_lion.py. */
static void sparse_lion(const Optimizer *o, REAL *restrict w, REAL *restrict m, REAL *restrict g, int64_t count,
                        int64_t step) {
    REAL rate = (REAL)o->rates[step], kept = (REAL)o->beta1, share = (REAL)(1 - o->beta1);
    REAL keep = (REAL)o->beta2, fresh = (REAL)(1 - o->beta2), shrink = 1 - (REAL)(o->rates[step] * o->decay);
    if (o->decay > 0)
        for (int64_t i = 0; i < count; i++) w[i] *= g[i] != 0 ? shrink : 1;
    for (int64_t i = 0; i < count; i++) {
        REAL moved = rate * sign_of(multiply_add(g[i], share, m[i] * kept)), moment = multiply_add(g[i], fresh, m[i] * keep);
        w[i] -= g[i] != 0 ? moved : 0;
        m[i] = g[i] != 0 ? moment : m[i], g[i] = 0;
    }
}

static void update(const Optimizer *o, REAL *w, REAL *m, REAL *v, REAL *g, int64_t count, int64_t step) {
    if (o->decay > 0 && (o->kind == ADAMW || o->kind == LION)) decay(w, count, (REAL)(1 - o->rates[step] * o->decay));
    switch (o->kind) {
        case LION: lion(o, w, m, g, count, step); break;
        case SPARSE_LION: sparse_lion(o, w, m, g, count, step); break;
        default: adam(o, w, m, v, g, count, step);
    }
}
