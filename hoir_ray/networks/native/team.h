/* Threads that go through the same steps and wait for each other. */

#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define SPINS 2000 /* a few microseconds, in which the others are mostly there */

#define MOST_THREADS 256

typedef struct {
    int64_t size;
    int is_open;
    atomic_llong arrived, round;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    void (*work)(void *job, int64_t rank);
    void *job;
} Team;

typedef struct {
    Team *team;
    int64_t rank;
} Member;

/* Waits until all are here: first awake, then asleep, since there may be fewer processors than threads. */
static void meet(Team *t) {
    if (t->size == 1) return;
    long long round = atomic_load(&t->round);
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->size) {
        atomic_store(&t->arrived, 0);
        pthread_mutex_lock(&t->lock);
        atomic_store(&t->round, round + 1);
        pthread_cond_broadcast(&t->moved);
        pthread_mutex_unlock(&t->lock);
        return;
    }
    for (int spin = 0; spin < SPINS; spin++)
        if (atomic_load(&t->round) != round) return;
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->round) == round) pthread_cond_wait(&t->moved, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void *join_team(void *given) {
    Member *member = given;
    Team *t = member->team;
    pthread_mutex_lock(&t->lock);
    while (!t->is_open) pthread_cond_wait(&t->moved, &t->lock);
    pthread_mutex_unlock(&t->lock);
    t->work(t->job, member->rank);
    return 0;
}

/* Runs work(job, rank) on up to `size` threads, of which the caller is the first; on fewer where no more can be started. */
static void run_team(Team *t, int64_t size, void (*work)(void *, int64_t), void *job) {
    pthread_t threads[MOST_THREADS];
    Member members[MOST_THREADS];
    int64_t started = 1;
    t->work = work, t->job = job;
    pthread_mutex_init(&t->lock, 0), pthread_cond_init(&t->moved, 0);
    for (; started < size && started < MOST_THREADS; started++) {
        members[started] = (Member){t, started};
        if (pthread_create(threads + started, 0, join_team, members + started)) break;
    }
    pthread_mutex_lock(&t->lock);
    t->size = started, t->is_open = 1;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
    work(job, 0);
    for (int64_t rank = 1; rank < started; rank++) pthread_join(threads[rank], 0);
    pthread_mutex_destroy(&t->lock), pthread_cond_destroy(&t->moved);
}
