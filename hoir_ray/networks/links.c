/* A layer of links, forward and backward, for rows of a batch on one thread. Compiled with -DREAL=float or double.
 *
 * x [batch, in], table [in, V, out], output [batch, out]. An input weighs n neighbouring rows of its V with the values of
 * n basis functions; the weighted rows are summed over the inputs, or one is added and they are multiplied. Per chunk of
 * rows the basis is computed first, side by side for all rows, then the rows are joined with the outputs side by side.
 * basis.py and combine.py are the same in plain torch and say where the numbers come from. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
#define VECTOR_BYTES 64
#else /* where vectors are shorter, the compiler halves these */
#define VECTOR_BYTES 32
#endif
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
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
    REAL *x, *values, *slopes, *left, *right, *left_slope, *right_slope, *grad, *partial, *products;
    int32_t *first;
} Scratch;

static int64_t padded(int64_t num_outputs) { return (num_outputs + LANES - 1) / LANES * LANES; }

static void *allocate(int64_t count, int64_t size) {
    int64_t bytes = (count * size + 63) / 64 * 64;
    return aligned_alloc(64, bytes ? bytes : 64);
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
    s->partial = allocate(CHUNK * LANES, sizeof(REAL));
    s->products = allocate(p->is_product ? 2 * in * MOST_VECTORS : 0, VECTOR_BYTES);
    s->first = allocate(in * CHUNK, sizeof(int32_t));
    return s->x && s->values && s->slopes && s->left && s->right && s->left_slope && s->right_slope && s->grad &&
           s->partial && s->products && s->first;
}

static void close_scratch(Scratch *s) {
    free(s->x), free(s->values), free(s->slopes), free(s->left), free(s->right), free(s->left_slope);
    free(s->right_slope), free(s->grad), free(s->partial), free(s->products), free(s->first);
}

/* The table with its rows padded to whole vectors; the table itself where they are whole already. */
static REAL *pad_table(const Plan *p, const REAL *table) {
    int64_t out = p->num_outputs, width = padded(out), rows = p->num_inputs * p->num_rows;
    if (out == width) return (REAL *)table;
    REAL *copy = allocate(rows * width, sizeof(REAL));
    for (int64_t row = 0; copy && row < rows; row++) {
        memcpy(copy + row * width, table + row * out, out * sizeof(REAL));
        memset(copy + row * width + out, 0, (width - out) * sizeof(REAL));
    }
    return copy;
}

/* ---- The basis: for every input, CHUNK rows side by side. ---- */

static void lagrange(const Plan *p, Scratch *s, const REAL *local, const REAL *scale, REAL *values, REAL *slopes) {
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

/* ---- Joining: NV vectors of outputs and NR rows at a time; both are constants wherever these are called. ---- */

INLINE const vec *table_row(const Plan *p, const Scratch *s, const REAL *table, int sparse, int64_t i, int64_t r, int64_t o) {
    int64_t row = i * p->num_rows + (sparse ? s->first[i * CHUNK + r] : 0);
    return (const vec *)(table + row * padded(p->num_outputs) + o);
}

INLINE void weigh_rows(const Plan *p, const Scratch *s, const REAL *weigh, const REAL *table, int sparse, int64_t i, int64_t r,
                 int64_t o, int NV, int NR, vec f[][MOST_VECTORS]) {
    int64_t n = p->num_values, step = padded(p->num_outputs) / LANES;
    const REAL *v = weigh + i * n * CHUNK + r;
    if (sparse) {
        UNROLL for (int q = 0; q < NR; q++) {
            const vec *row = table_row(p, s, table, 1, i, r + q, o);
            for (int64_t k = 0; k < n; k++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[k * CHUNK + q] * row[k * step + c];
        }
    } else {
        const vec *row = table_row(p, s, table, 0, i, r, o);
        for (int64_t k = 0; k < n; k++)
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] += v[k * CHUNK + q] * row[k * step + c];
    }
}

INLINE void forward_block(const Plan *p, Scratch *s, const REAL *table, REAL *output, int64_t rows, int64_t o, int sparse,
                          int product, int NV, int NR) {
    int64_t out = p->num_outputs, count = out - o < NV * LANES ? out - o : NV * LANES;
    for (int64_t r = 0; r < rows; r += NR) {
        vec total[MOST_ROWS][MOST_VECTORS], f[MOST_ROWS][MOST_VECTORS];
        UNROLL for (int q = 0; q < NR; q++)
            UNROLL for (int c = 0; c < NV; c++) total[q][c] = (vec){0} + (REAL)product;
        for (int64_t i = 0; i < p->num_inputs; i++) {
            if (!product) {
                weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, total);
                continue;
            }
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) f[q][c] = (vec){0} + (REAL)1;
            weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, NR, f);
            UNROLL for (int q = 0; q < NR; q++)
                UNROLL for (int c = 0; c < NV; c++) total[q][c] *= f[q][c];
        }
        for (int q = 0; q < NR && r + q < rows; q++) {
            if (product)
                UNROLL for (int c = 0; c < NV; c++) total[q][c] -= (REAL)1;
            memcpy(output + (r + q) * out + o, total[q], count * sizeof(REAL));
        }
    }
}

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

/* The slope of one input's link, weighed by the gradient, as a vector whose lanes are still to be added. */
INLINE vec link_slope(const Plan *p, Scratch *s, const REAL *table, const vec *grad, int64_t i, int64_t r, int64_t o,
                      int sparse, int NV) {
    vec f[1][MOST_VECTORS], total = {0};
    UNROLL for (int c = 0; c < NV; c++) f[0][c] = (vec){0};
    weigh_rows(p, s, s->slopes, table, sparse, i, r, o, NV, 1, f);
    UNROLL for (int c = 0; c < NV; c++) total += f[0][c] * grad[c];
    return total;
}

INLINE void add_to_rows(const Plan *p, Scratch *s, REAL *grad_table, const vec *grad, int64_t i, int64_t r, int64_t o,
                        int sparse, int NV) {
    int64_t n = p->num_values, step = padded(p->num_outputs) / LANES;
    vec *row = (vec *)table_row(p, s, grad_table, sparse, i, r, o);
    const REAL *v = s->values + i * n * CHUNK + r;
    for (int64_t k = 0; k < n; k++)
        UNROLL for (int c = 0; c < NV; c++) row[k * step + c] += v[k * CHUNK] * grad[c];
}

/* Basis functions that are the same table rows for every row of the batch: their gradients stay in registers. */
INLINE void add_dense(const Plan *p, Scratch *s, REAL *grad_table, int64_t rows, int64_t m, int64_t o, int NV, int NM) {
    int64_t width = padded(p->num_outputs);
    vec total[4][MOST_VECTORS];
    UNROLL for (int j = 0; j < NM; j++)
        UNROLL for (int c = 0; c < NV; c++) total[j][c] = *(vec *)(grad_table + (m + j) * width + o + c * LANES);
    for (int64_t r = 0; r < rows; r++) {
        const vec *grad = (const vec *)(s->grad + r * width + o);
        UNROLL for (int j = 0; j < NM; j++)
            UNROLL for (int c = 0; c < NV; c++) total[j][c] += s->values[(m + j) * CHUNK + r] * grad[c];
    }
    UNROLL for (int j = 0; j < NM; j++)
        UNROLL for (int c = 0; c < NV; c++) *(vec *)(grad_table + (m + j) * width + o + c * LANES) = total[j][c];
}

INLINE void sum_backward(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, REAL *grad_table, int64_t rows,
                         int64_t o, int sparse, int NV) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs), m = 0, all = in * p->num_values;
    if (!sparse) {
        for (; m + 4 <= all; m += 4) add_dense(p, s, grad_table, rows, m, o, NV, 4);
        for (; m < all; m++) add_dense(p, s, grad_table, rows, m, o, NV, 1);
        if (!grad_x) return;
    }
    for (int64_t i = 0; i < in; i++)
        for (int64_t r = 0; r < rows; r++) {
            const vec *grad = (const vec *)(s->grad + r * width + o);
            if (sparse) add_to_rows(p, s, grad_table, grad, i, r, o, 1, NV);
            if (!grad_x) continue;
            vec lanes = link_slope(p, s, table, grad, i, r, o, sparse, NV);
            grad_x[r * in + i] += sum_lanes(&lanes);
        }
}

/* Each factor's gradient is the product of all others: those before it, kept, times those behind it, carried along. */
INLINE void product_backward(const Plan *p, Scratch *s, const REAL *table, REAL *grad_x, REAL *grad_table, int64_t rows,
                             int64_t o, int sparse, int NV) {
    int64_t in = p->num_inputs, width = padded(p->num_outputs);
    vec(*factor)[MOST_VECTORS] = (void *)s->products, (*before)[MOST_VECTORS] = factor + in;
    for (int64_t r = 0; r < rows; r++) {
        vec running[MOST_VECTORS];
        UNROLL for (int c = 0; c < NV; c++) running[c] = (vec){0} + (REAL)1;
        for (int64_t i = 0; i < in; i++) {
            vec f[1][MOST_VECTORS];
            UNROLL for (int c = 0; c < NV; c++) f[0][c] = (vec){0} + (REAL)1, before[i][c] = running[c];
            weigh_rows(p, s, s->values, table, sparse, i, r, o, NV, 1, f);
            UNROLL for (int c = 0; c < NV; c++) factor[i][c] = f[0][c], running[c] *= f[0][c];
        }
        UNROLL for (int c = 0; c < NV; c++) running[c] = *(vec *)(s->grad + r * width + o + c * LANES);
        for (int64_t i = in - 1; i >= 0; i--) {
            vec grad[MOST_VECTORS];
            UNROLL for (int c = 0; c < NV; c++) grad[c] = running[c] * before[i][c], running[c] *= factor[i][c];
            add_to_rows(p, s, grad_table, grad, i, r, o, sparse, NV);
            if (!grad_x) continue;
            vec lanes = link_slope(p, s, table, grad, i, r, o, sparse, NV);
            grad_x[r * in + i] += sum_lanes(&lanes);
        }
    }
}

#define BY_PLAN(CALL, NV, NR)                                                     \
    do {                                                                          \
        if (p->kind == PIECEWISE && p->is_product) CALL(1, 1, NV, NR);            \
        else if (p->kind == PIECEWISE) CALL(1, 0, NV, NR);                        \
        else if (p->is_product) CALL(0, 1, NV, NR);                               \
        else CALL(0, 0, NV, NR);                                                  \
    } while (0)

#define BY_WIDTH(CALL)                                                            \
    for (int64_t o = 0; o < width;) {                                             \
        int64_t left = (width - o) / LANES;                                       \
        if (left >= 4) { BY_PLAN(CALL, 4, 2); o += 4 * LANES; }                   \
        else if (left == 3) { BY_PLAN(CALL, 3, 4); o += 3 * LANES; }              \
        else if (left == 2) { BY_PLAN(CALL, 2, 4); o += 2 * LANES; }              \
        else { BY_PLAN(CALL, 1, 8); o += LANES; }                                 \
    }

/* Returns 0, or 1 where memory ran out. */
int forward(const Plan *p, const REAL *x, const REAL *table, REAL *output, int64_t batch) {
    Scratch scratch = {0}, *s = &scratch;
    REAL *wide = pad_table(p, table);
    int64_t in = p->num_inputs, out = p->num_outputs, width = padded(out);
    int ready = open_scratch(p, s) && wide;
    for (int64_t start = 0; ready && start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        expand(p, s, x + start * in, rows, 0);
#define CALL(SPARSE, PRODUCT, NV, NR) forward_block(p, s, wide, output + start * out, rows, o, SPARSE, PRODUCT, NV, NR)
        BY_WIDTH(CALL)
#undef CALL
    }
    close_scratch(s);
    if (wide != table) free(wide);
    return !ready;
}

/* grad_x may be null; grad_table is written whole. Returns 0, or 1 where memory ran out. */
int backward(const Plan *p, const REAL *x, const REAL *table, const REAL *grad, REAL *grad_x, REAL *grad_table,
             int64_t batch) {
    Scratch scratch = {0}, *s = &scratch;
    REAL *wide = pad_table(p, table);
    int64_t in = p->num_inputs, out = p->num_outputs, width = padded(out), all_rows = in * p->num_rows;
    REAL *sums = width == out ? grad_table : allocate(all_rows * width, sizeof(REAL));
    int ready = open_scratch(p, s) && wide && sums;
    if (ready) memset(sums, 0, all_rows * width * sizeof(REAL));
    if (grad_x) memset(grad_x, 0, batch * in * sizeof(REAL));
    for (int64_t start = 0; ready && start < batch; start += CHUNK) {
        int64_t rows = batch - start < CHUNK ? batch - start : CHUNK;
        REAL *chunk_grad_x = grad_x ? grad_x + start * in : 0;
        expand(p, s, x + start * in, rows, grad_x != 0);
        for (int64_t r = 0; r < rows; r++) {
            memcpy(s->grad + r * width, grad + (start + r) * out, out * sizeof(REAL));
            memset(s->grad + r * width + out, 0, (width - out) * sizeof(REAL));
        }
#define CALL(SPARSE, PRODUCT, NV, NR)                                                              \
    (PRODUCT ? product_backward : sum_backward)(p, s, wide, chunk_grad_x, sums, rows, o, SPARSE, NV)
        BY_WIDTH(CALL)
#undef CALL
    }
    for (int64_t row = 0; ready && sums != grad_table && row < all_rows; row++)
        memcpy(grad_table + row * out, sums + row * width, out * sizeof(REAL));
    close_scratch(s);
    if (wide != table) free(wide);
    if (sums != grad_table) free(sums);
    return !ready;
}
