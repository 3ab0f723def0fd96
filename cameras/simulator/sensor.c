/* The sensor: which triggers start an exposure, when it is finished, and the frame that it gives.
 *
 * Triggers are judged by their own time stamps, and each exposure holds the scene that was showing at its trigger, so a
 * late thread changes when a frame is delivered but never which triggers are taken or what is on the frame. */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "simcam.h"

static uint64_t exposure_ns(const struct registers *registers) {
    return (uint64_t)(registers->exposure_time * 1e3);
}

/* The shortest time from one exposure's start to the next. */
static uint64_t cycle_ns(const struct registers *registers) {
    uint64_t period = (uint64_t)(1e9 / registers->acquisition_frame_rate);
    return period > exposure_ns(registers) ? period : exposure_ns(registers);
}

/* ---- scenes: control.py writes no slot that a pending exposure holds ---- */

static void hold_scene(struct control *control, uint64_t slot) {
    if (slot < SCENE_SLOTS)
        control->scene_holds[slot]++;
}

static void release_scene(struct control *control, uint64_t slot) {
    if (slot < SCENE_SLOTS)
        control->scene_holds[slot]--;
}

/* Holds the scene that is showing now. The second look makes sure that control.py saw the hold before it went on. */
static uint64_t hold_current_scene(struct control *control) {
    for (;;) {
        uint64_t slot = control->scene_slot;
        hold_scene(control, slot);
        if (control->scene_slot == slot)
            return slot;
        release_scene(control, slot);
    }
}

/* ---- triggers ---- */

static enum fault_kind next_fault(struct camera *camera, uint64_t frame_id) {
    struct control *control = camera->control;
    enum fault_kind kind = (enum fault_kind)control->fault_kind;
    uint64_t number = control->fault_number, every = control->fault_every, at = control->fault_at;
    bool hit;
    if (every)
        hit = frame_id % every == 0;
    else
        hit = control->fault_done != number && (at == 0 || at == frame_id);
    if (kind == FAULT_NONE || !hit || (kind == FAULT_DUPLICATE_ID && frame_id == 1))
        return FAULT_NONE;
    control->fault_done = number;
    control->faults_injected++;
    return kind;
}

/* Starts an exposure that holds the scene already. */
static void expose(struct camera *camera, uint64_t timestamp_ns, uint64_t scene) {
    const struct registers *registers = &camera->registers;
    size_t place = (camera->exposure_first + camera->exposures) % EXPOSURES_MAX;
    struct exposure *exposure = &camera->exposure[place];
    *exposure = (struct exposure){
        .timestamp_ns = timestamp_ns,
        .finished_ns = timestamp_ns + exposure_ns(registers),
        .frame_id = ++camera->frame_id,
        .counter_value = camera->counter_value,
        .scene = scene,
        .exposure_us = registers->exposure_time,
        .gain_db = registers->gain,
    };
    exposure->fault = next_fault(camera, exposure->frame_id);
    if (exposure->fault == FAULT_DELAY)
        exposure->finished_ns += camera->control->fault_delay_ms * 1000000u;
    camera->exposures++;
    camera->control->exposures++;
    if (registers->acquisition_mode == SINGLE_FRAME)
        camera->control->acquiring = 0;
}

/* Counts the trigger and tells whether the sensor takes it. */
static bool take_trigger(struct camera *camera, uint64_t timestamp_ns) {
    camera->counter_value++;
    bool room = camera->exposures < EXPOSURES_MAX;
    if (room && timestamp_ns >= camera->ready_ns) {
        camera->ready_ns = timestamp_ns + cycle_ns(&camera->registers);
        return true;
    }
    camera->missed_trigger_count++;
    camera->control->missed_triggers++;
    return false;
}

static bool listens_to(const struct camera *camera, enum trigger_source source) {
    return camera->control->acquiring && camera->registers.trigger_mode && camera->registers.trigger_source == source;
}

/* Takes the edges that control.py put in the ring, as far as there is room to remember their exposures. */
void sensor_take_edges(struct camera *camera) {
    struct control *control = camera->control;
    uint64_t tail = control->edge_tail;
    while (tail != control->edge_head && camera->exposures < EXPOSURES_MAX) {
        uint64_t timestamp_ns = control->edge_timestamp_ns[tail % EDGE_RING];
        uint64_t scene = control->edge_scene[tail % EDGE_RING];
        bool wanted = camera_alive(camera) && listens_to(camera, SOURCE_LINE1) && timestamp_ns >= camera->started_ns;
        if (wanted && take_trigger(camera, timestamp_ns)) {
            hold_scene(control, scene);
            expose(camera, timestamp_ns, scene);
        }
        control->edge_tail = ++tail;
    }
}

void sensor_software_trigger(struct camera *camera) {
    if (!listens_to(camera, SOURCE_SOFTWARE))
        return;
    camera->control->software_triggers++;
    uint64_t timestamp_ns = now_ns();
    if (take_trigger(camera, timestamp_ns))
        expose(camera, timestamp_ns, hold_current_scene(camera->control));
}

static bool runs_freely(const struct camera *camera) {
    return camera->control->acquiring && !camera->registers.trigger_mode && camera->exposures < EXPOSURES_MAX;
}

static void take_free_run(struct camera *camera) {
    uint64_t now = now_ns();
    if (!runs_freely(camera) || now < camera->next_frame_ns)
        return;
    uint64_t timestamp_ns = camera->next_frame_ns;
    uint64_t cycle = cycle_ns(&camera->registers);
    if (now - timestamp_ns > cycle) /* frames that a busy machine had no time for are not made up */
        timestamp_ns = now;
    camera->next_frame_ns = timestamp_ns + cycle;
    expose(camera, timestamp_ns, hold_current_scene(camera->control));
}

/* ---- frames ---- */

static const struct exposure *oldest(const struct camera *camera) {
    return camera->exposures ? &camera->exposure[camera->exposure_first] : NULL;
}

static struct exposure take_oldest(struct camera *camera) {
    struct exposure exposure = *oldest(camera);
    camera->exposure_first = (camera->exposure_first + 1) % EXPOSURES_MAX;
    camera->exposures--;
    return exposure;
}

/* Reads the oldest exposure out into a buffer. The lock is free while the pixels are written. */
static void deliver(struct camera *camera) {
    struct exposure exposure = take_oldest(camera);
    struct registers registers = camera->registers;
    struct buffer *buffer = NULL;
    camera->frames_started++;
    if (exposure.fault == FAULT_CROPPED && registers.height > 1)
        registers.height /= 2;
    if (exposure.fault != FAULT_DROP && !camera->control->stalled) {
        buffer = camera->grabbing ? queue_pop(&camera->input) : NULL;
        if (!buffer) {
            camera->frames_underrun++;
            camera->control->underruns++;
        }
    }
    if (buffer) {
        buffer->place = BEING_FILLED;
        camera->filling = buffer;
        pthread_mutex_unlock(&camera->lock);
        render(camera, &registers, &exposure, buffer);
        pthread_mutex_lock(&camera->lock);
        camera->filling = NULL;
        queue_push(&camera->output, buffer, IN_OUTPUT);
        camera->control->delivered++;
        pthread_cond_broadcast(&camera->changed);
    }
    release_scene(camera->control, exposure.scene);
}

static void forget_exposures(struct camera *camera) {
    while (camera->exposures)
        release_scene(camera->control, take_oldest(camera).scene);
}

void sensor_start(struct camera *camera) {
    sensor_stop(camera);
    camera->started_ns = camera->next_frame_ns = now_ns();
    camera->ready_ns = 0;
    camera->frame_id = camera->counter_value = camera->missed_trigger_count = 0;
    camera->control->acquiring = 1;
}

void sensor_stop(struct camera *camera) {
    sensor_take_edges(camera);
    camera->control->acquiring = 0;
    forget_exposures(camera);
    stream_wait_filled(camera);
}

/* ---- the thread ---- */

/* A byte in the camera's FIFO, as control.py writes one for each edge. A full FIFO wakes just as well. */
void sensor_wake(const struct camera *camera) {
    char byte = 0;
    ssize_t written = write(camera->wake_fd, &byte, 1);
    (void)written;
}

static void sleep_until(struct camera *camera, uint64_t until_ns) {
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    struct pollfd wake = {.fd = camera->wake_fd, .events = POLLIN};
    char bytes[4096];
    pthread_mutex_unlock(&camera->lock);
    if (ppoll(&wake, 1, until_ns == NEVER ? NULL : &timeout, NULL) > 0) {
        ssize_t drained = read(camera->wake_fd, bytes, sizeof bytes);
        (void)drained;
    }
    pthread_mutex_lock(&camera->lock);
}

static uint64_t next_event_ns(const struct camera *camera) {
    uint64_t finished = oldest(camera) ? oldest(camera)->finished_ns : NEVER;
    uint64_t next = runs_freely(camera) ? camera->next_frame_ns : NEVER;
    return finished < next ? finished : next;
}

void *sensor_run(void *argument) {
    struct camera *camera = argument;
    pthread_mutex_lock(&camera->lock);
    while (!camera->sensor_stop) {
        sensor_take_edges(camera);
        if (!camera_alive(camera)) {
            sensor_stop(camera);
            pthread_cond_broadcast(&camera->changed); /* EventGetData looks whether the camera is lost */
            sleep_until(camera, NEVER);
            continue;
        }
        take_free_run(camera);
        if (oldest(camera) && oldest(camera)->finished_ns <= now_ns())
            deliver(camera);
        else
            sleep_until(camera, next_event_ns(camera));
    }
    forget_exposures(camera);
    pthread_mutex_unlock(&camera->lock);
    return NULL;
}
