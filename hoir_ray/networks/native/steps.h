/* Many optimizer steps of a network in one call, and its outputs for many rows in one.
 *
 * A thread takes its rows of a batch in chunks, each through the whole network forward and backward before the next, so
 * that what is held does not grow with the batch. Gradients of the threads are added in the order of their rows. */

#pragma once

#include "optimizers.h"
#include "tape.h"
#include "team.h"

typedef struct {
    const REAL *inputs, *targets; /* a row for each sample; the targets are null where there are none */
    const int64_t *picked;        /* of each sample the number of its shared row, or null */
    const REAL *shared;           /* rows that all samples share */
    int64_t num_samples, num_shared;
} Samples;

typedef struct {
    const Tape *tape;
    const Samples *samples;
    const Optimizer *optimizer; /* null for outputs alone */
    const int64_t *index;       /* numbers of the samples of each step; null for all in order */
    int64_t num_steps, batch, num_threads;
    double *losses;             /* of each step */
    REAL *outputs;
} Run;

typedef struct {
    const Run *run;
    Team team;
    Worker *workers;
    REAL *weights, *moments, *squares, *kept; /* `kept` are the shared rows' values that are picked, one after the other */
    int64_t *offsets, count;
    Common common;
} Job;

#define AHEAD 12 /* rows whose memory is asked for before they are read */

enum outcome { DONE, NO_MEMORY, OUT_OF_RANGE };

static int64_t stride_of(const Parameter *p) { return p->plan ? row_width(p->plan) : p->columns; }

/* One of a parameter's tensors to its place in the form that the operations read, or back. */
static void move_tensor(const Parameter *p, REAL *tensor, REAL *place, int is_back) {
    int64_t stride = stride_of(p);
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t column = 0; column < p->columns; column++) {
            REAL *outer = tensor + (p->is_transposed ? column * p->rows + row : row * p->columns + column);
            REAL *inner = place + row * stride + column;
            if (is_back) *outer = *inner;
            else *inner = *outer;
        }
}

static void move_parameters(const Job *job, int is_back) {
    const Tape *t = job->run->tape;
    for (int64_t k = 0; k < t->num_parameters; k++) {
        const Parameter *p = t->parameters + k;
        move_tensor(p, p->value, job->weights + job->offsets[k], is_back);
        if (job->moments) move_tensor(p, p->moment, job->moments + job->offsets[k], is_back);
        if (job->squares) move_tensor(p, p->square, job->squares + job->offsets[k], is_back);
    }
}

static void take_worker(const Job *job, Worker *w, Arena *a) {
    const Tape *t = job->run->tape;
    int is_training = job->run->optimizer != 0;
    int64_t widest = 1;
    w->values = take(a, t->num_values, sizeof(REAL *)), w->grads = take(a, t->num_values, sizeof(REAL *));
    w->scratch = take(a, t->num_operations, sizeof(Scratch));
    for (int64_t v = 0; v < t->num_values; v++) {
        int64_t width = t->values[v].width;
        widest = width > widest ? width : widest;
        REAL *value = take(a, CHUNK * width, sizeof(REAL)), *grad = take(a, is_training * CHUNK * width, sizeof(REAL));
        if (a->block) w->values[v] = value, w->grads[v] = grad;
    }
    for (int64_t k = 0; k < t->num_operations; k++) {
        Scratch none, *s = a->block ? w->scratch + k : &none;
        if (t->operations[k].kind == LINKS) take_scratch(t->operations[k].plan, s, a);
    }
    w->row = take(a, widest, sizeof(REAL)), w->picked = take(a, CHUNK, sizeof(int64_t));
    w->targets = take(a, is_training * CHUNK * t->values[t->num_values - 1].width, sizeof(REAL));
    w->sums = take(a, is_training * job->count, sizeof(REAL));
    w->kept_grads = take(a, is_training * job->run->samples->num_shared * t->kept_width, sizeof(REAL));
}

/* Everything that a run needs, counted first and then taken. */
static void take_job(Job *job, Arena *a) {
    const Run *run = job->run;
    const Tape *t = run->tape;
    int is_training = run->optimizer != 0, has_squares = is_training && run->optimizer->kind <= ADAMW;
    job->offsets = take(a, t->num_parameters + 1, sizeof(int64_t));
    job->count = 0;
    for (int64_t k = 0; k < t->num_parameters; k++) {
        if (a->block) job->offsets[k] = job->count;
        job->count += (t->parameters[k].rows * stride_of(t->parameters + k) + LANES - 1) / LANES * LANES;
    }
    job->weights = take(a, job->count, sizeof(REAL));
    job->moments = is_training ? take(a, job->count, sizeof(REAL)) : 0;
    job->squares = has_squares ? take(a, job->count, sizeof(REAL)) : 0;
    job->kept = take(a, run->samples->num_shared * t->kept_width, sizeof(REAL));
    job->workers = take(a, run->num_threads, sizeof(Worker));
    for (int64_t rank = 0; rank < run->num_threads; rank++) {
        Worker none, *w = a->block ? job->workers + rank : &none;
        take_worker(job, w, a);
    }
}

/* Bytes that a run needs. */
int64_t run_bytes(const Run *run) {
    Job job = {.run = run};
    Arena arena = {0};
    take_job(&job, &arena);
    return arena.used;
}

/* Rows of a thread, out of so many: whole chunks, since a part of one takes as long. */
static void share_of(const Team *team, int64_t rank, int64_t rows, int64_t unit, int64_t *start, int64_t *stop) {
    int64_t chunks = (rows + unit - 1) / unit, each = (chunks + team->size - 1) / team->size * unit;
    *start = rank * each < rows ? rank * each : rows;
    *stop = *start + each < rows ? *start + each : rows;
}

/* A chunk of a step's samples; a number out of range is noted, and the first sample taken for it. */
static void gather(const Job *job, Worker *w, int64_t first, int64_t rows) {
    const Run *run = job->run;
    const Samples *s = run->samples;
    const Tape *t = run->tape;
    int64_t in = t->values[0].width, out = t->values[t->num_values - 1].width;
    for (int64_t r = 0; r < rows; r++) {
        int64_t number = run->index ? run->index[first + r] : first + r;
        if (number < 0 || number >= s->num_samples) w->is_out_of_range = 1, number = 0;
        if (run->index && r + AHEAD < rows) { /* any address may be asked for */
            __builtin_prefetch(s->inputs + run->index[first + r + AHEAD] * in);
            if (run->optimizer) __builtin_prefetch(s->targets + run->index[first + r + AHEAD] * out);
        }
        memcpy(w->values[0] + r * in, s->inputs + number * in, in * sizeof(REAL));
        if (run->optimizer) memcpy(w->targets + r * out, s->targets + number * out, out * sizeof(REAL));
        if (!s->picked) continue;
        int64_t picked = s->picked[number];
        if (picked < 0 || picked >= s->num_shared) w->is_out_of_range = 1, picked = 0;
        w->picked[r] = picked;
    }
}

static void forward(const Job *job, Worker *w, int64_t start, int64_t stop, int64_t rows) {
    for (int64_t k = start; k < stop; k++)
        forward_operation(job->run->tape, &job->common, w, k, rows, job->run->optimizer != 0);
}

static void backward(const Job *job, Worker *w, int64_t start, int64_t stop, int64_t rows) {
    for (int64_t k = stop - 1; k >= start; k--) backward_operation(job->run->tape, &job->common, w, k, rows);
}

/* The operations on a chunk of shared rows. */
static int64_t run_shared(const Job *job, Worker *w, int64_t start, int64_t stop) {
    const Tape *t = job->run->tape;
    int64_t in = t->values[1].width, rows = stop - start < CHUNK ? stop - start : CHUNK;
    memcpy(w->values[1], job->run->samples->shared + start * in, rows * in * sizeof(REAL));
    forward(job, w, 0, t->num_shared, rows);
    return rows;
}

/* Each thread its part of the shared rows; of what is picked from them all rows are kept. */
static void forward_shared(Job *job, Worker *w, int64_t rank) {
    const Tape *t = job->run->tape;
    int64_t start, stop, num_shared = job->run->samples->num_shared;
    share_of(&job->team, rank, num_shared, CHUNK, &start, &stop);
    for (; start < stop; start += CHUNK) {
        int64_t rows = run_shared(job, w, start, stop);
        for (int64_t v = 0; v < t->num_values; v++) {
            int64_t width = t->values[v].width, kept = t->values[v].kept;
            if (kept < 0) continue;
            memcpy(job->kept + kept * num_shared + start * width, w->values[v], rows * width * sizeof(REAL));
        }
    }
}

/* Goes forward again, since what a chunk leaves for its way back is overwritten by the next. */
static void backward_shared(Job *job, Worker *w, int64_t rank) {
    const Tape *t = job->run->tape;
    int64_t start, stop, num_shared = job->run->samples->num_shared;
    share_of(&job->team, rank, num_shared, CHUNK, &start, &stop);
    for (; start < stop; start += CHUNK) {
        int64_t rows = run_shared(job, w, start, stop);
        for (int64_t v = 0; v < t->num_values; v++) {
            int64_t width = t->values[v].width, kept = t->values[v].kept;
            if (kept < 0) continue;
            memset(w->grads[v], 0, rows * width * sizeof(REAL));
            for (int64_t of = 0; of < job->team.size; of++) {
                REAL *grads = job->workers[of].kept_grads + kept * num_shared + start * width;
                for (int64_t j = 0; j < rows * width; j++) w->grads[v][j] += grads[j], grads[j] = 0;
            }
        }
        backward(job, w, 0, t->num_shared, rows);
    }
}

/* Mean squared error: adds a chunk's squares to the loss, and leaves the gradient of the mean over the batch. */
static void compare(const Job *job, Worker *w, int64_t rows) {
    const Tape *t = job->run->tape;
    int64_t last = t->num_values - 1, out = t->values[last].width;
    REAL scale = (REAL)(2.0 / (double)(job->run->batch * out));
    for (int64_t j = 0; j < rows * out; j++) {
        REAL distance = w->values[last][j] - w->targets[j];
        w->loss += (double)(distance * distance);
        w->grads[last][j] = scale * distance;
    }
}

static void descend(Job *job, int64_t rank, int64_t step) {
    int64_t start, stop;
    share_of(&job->team, rank, job->count, LANES, &start, &stop);
    REAL *sums = job->workers[0].sums, *squares = job->squares ? job->squares + start : 0;
    for (int64_t of = 1; of < job->team.size; of++) {
        REAL *added = job->workers[of].sums;
        for (int64_t i = start; i < stop; i++) sums[i] += added[i], added[i] = 0;
    }
    update(job->run->optimizer, job->weights + start, job->moments + start, squares, sums + start, stop - start, step);
}

static void train(void *given, int64_t rank) {
    Job *job = given;
    Worker *w = job->workers + rank;
    const Run *run = job->run;
    const Tape *t = run->tape;
    int64_t start, stop;
    share_of(&job->team, rank, run->batch, CHUNK, &start, &stop);
    for (int64_t step = 0; step < run->num_steps; step++) {
        if (t->num_shared) forward_shared(job, w, rank), meet(&job->team);
        w->loss = 0;
        for (int64_t at = start; at < stop; at += CHUNK) {
            int64_t rows = stop - at < CHUNK ? stop - at : CHUNK;
            gather(job, w, step * run->batch + at, rows);
            forward(job, w, t->num_shared, t->num_operations, rows);
            compare(job, w, rows);
            backward(job, w, t->num_shared, t->num_operations, rows);
        }
        meet(&job->team);
        if (t->num_shared) backward_shared(job, w, rank), meet(&job->team);
        if (rank == 0) {
            double loss = 0;
            for (int64_t of = 0; of < job->team.size; of++) loss += job->workers[of].loss;
            run->losses[step] = loss / (double)(run->batch * t->values[t->num_values - 1].width);
        }
        descend(job, rank, step);
        meet(&job->team);
    }
}

static void predict(void *given, int64_t rank) {
    Job *job = given;
    Worker *w = job->workers + rank;
    const Run *run = job->run;
    const Tape *t = run->tape;
    int64_t start, stop, last = t->num_values - 1, out = t->values[last].width;
    share_of(&job->team, rank, run->batch, CHUNK, &start, &stop);
    if (t->num_shared) forward_shared(job, w, rank), meet(&job->team);
    for (; start < stop; start += CHUNK) {
        int64_t rows = stop - start < CHUNK ? stop - start : CHUNK;
        gather(job, w, start, rows);
        forward(job, w, t->num_shared, t->num_operations, rows);
        memcpy(run->outputs + start * out, w->values[last], rows * out * sizeof(REAL));
    }
}

/* Trains with an optimizer, gives outputs without one. Weights stay as they were unless the outcome is DONE. */
int run(const Run *given) {
    int64_t most = (given->batch + CHUNK - 1) / CHUNK;
    Run run = *given;
    Job job = {.run = &run};
    Arena arena = {0};
    run.num_threads = run.num_threads < most ? run.num_threads : most;
    run.num_threads = run.num_threads < MOST_THREADS ? run.num_threads : MOST_THREADS;
    take_job(&job, &arena);
    int64_t size = arena.used;
    if (!reserve(&arena)) return NO_MEMORY;
    memset(arena.block, 0, size);
    take_job(&job, &arena);
    move_parameters(&job, 0);
    job.common = (Common){job.weights, run.samples->shared, job.kept, job.offsets, run.samples->num_shared};
    run_team(&job.team, run.num_threads, run.optimizer ? train : predict, &job);
    int is_out_of_range = 0;
    for (int64_t rank = 0; rank < run.num_threads; rank++) is_out_of_range |= job.workers[rank].is_out_of_range;
    if (run.optimizer && !is_out_of_range) move_parameters(&job, 1);
    free(arena.block);
    return is_out_of_range ? OUT_OF_RANGE : DONE;
}
